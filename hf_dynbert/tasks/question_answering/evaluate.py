# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Extractive question answering: exact match and F1 of a model, and the task for the verbs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from datasets import Dataset

from ..base import DataOptions, Evaluator, Scores, Task, budget_arguments, register_task
from ..inference import check_lengths, check_max_length
from ..measurement import measure
from .decoding import MAX_ANSWER_LENGTH, decode_answers
from .features import MAX_LENGTH, STRIDE, encode_windows, training_features
from .metrics import exact_match, score_prediction, token_f1
from .squad import load_questions, load_squad, split_by_article


class QuestionAnsweringEvaluator(Evaluator):
    """Exact match and F1 of SQuAD (arXiv 1606.05250; with questions without an answer, 1806.03822).

    Args:
        tokenizer (`PreTrainedTokenizerFast`): tokenizer of the models.
        data (`datasets.Dataset`): rows of `load_squad`. Ids need not be unique.
        max_length, stride: see `encode_windows`.
        max_answer_length (`int`, *optional*): see `decode_answers`.
        handle_impossible_answer (`bool`, *optional*): whether "no answer" is a valid answer. `None` refuses data that have
            questions without an answer.
        batch_size, progress: see [`Evaluator`].

    Raises:
        ValueError: no questions, or questions without an answer and `handle_impossible_answer` is not given.
    """

    primary_metric = "f1"

    def __init__(
        self,
        tokenizer,
        data: Dataset,
        max_length: int = MAX_LENGTH,
        stride: int = STRIDE,
        max_answer_length: int = MAX_ANSWER_LENGTH,
        handle_impossible_answer: bool | None = None,
        batch_size: int = 32,
        progress: bool = False,
    ):
        if len(data) == 0:
            raise ValueError("There is nothing to evaluate: the data set is empty.")
        self.contexts = list(data["context"])
        self.golds = [row["text"] for row in data["answers"]]
        unanswerable = sum(1 for golds in self.golds if not golds)
        if unanswerable and handle_impossible_answer is None:
            raise ValueError(
                f"{unanswerable} of {len(data)} questions have no answer (SQuAD v2). Give handle_impossible_answer=True to "
                'score "no answer" as an answer, or handle_impossible_answer=False to score a span for each question.'
            )
        self.max_answer_length, self.handle_impossible_answer = max_answer_length, bool(handle_impossible_answer)
        self.windows = encode_windows(tokenizer, list(data["question"]), self.contexts, max_length, stride)
        super().__init__(tokenizer, [window.inputs for window in self.windows], batch_size, progress)

    def evaluate(self, model, budget=None) -> Scores:
        """See [`Evaluator.evaluate`]. Windows that are longer than the input of the model are refused before any work."""
        budget_arguments(model, budget)
        check_lengths(model.config, self.lengths)
        return super().evaluate(model, budget)

    def score(self, outputs: list[dict[str, np.ndarray]]) -> Scores:
        """Decodes the answers and scores them."""
        windows_of: dict[int, list[int]] = {}
        for index, window in enumerate(self.windows):
            windows_of.setdefault(window.example, []).append(index)
        answers = [self._answer(example, windows_of[example], outputs) for example in range(len(self.contexts))]
        exact = [score_prediction(exact_match, answer, golds) for answer, golds in zip(answers, self.golds, strict=True)]
        f1 = [score_prediction(token_f1, answer, golds) for answer, golds in zip(answers, self.golds, strict=True)]
        metrics = {"exact_match": float(np.mean(exact)), "f1": float(np.mean(f1))}
        return Scores(metrics, np.array(f1), answers)

    def _answer(self, example: int, windows: list[int], outputs: list[dict[str, np.ndarray]]) -> str:
        best = decode_answers(
            self.contexts[example],
            [self.windows[index] for index in windows],
            [outputs[index]["start_logits"] for index in windows],
            [outputs[index]["end_logits"] for index in windows],
            max_answer_length=self.max_answer_length,
            handle_impossible_answer=self.handle_impossible_answer,
        )
        return best[0].answer


class QuestionAnswering(Task):
    """Answers to questions as spans of contexts."""

    name, head, max_length = "question-answering", "ForQuestionAnswering", MAX_LENGTH
    primary_metric, default_dataset, unit = "f1", "rajpurkar/squad", "of the articles"
    pipeline, fields = "extractive-qa", ("question", "context")
    options = ("max_length", "stride", "handle_impossible_answer", "dropped_logits")
    example = 'question="Who lit the lamp?", context="The lamp of Skerrow Point was lit by Ada Marsh in 1907."'

    def load(self, sources: Sequence[str], options: DataOptions) -> Dataset:
        """Reads SQuAD files, or a data set on the Hub; see `load_squad`."""
        return load_squad(list(sources), split=options.split, name=options.config_name)

    def load_unlabelled(self, sources: Sequence[str], options: DataOptions, config) -> Dataset:
        """Reads questions and contexts; see `load_questions`."""
        return load_questions(list(sources))

    def with_predictions(self, data: Dataset, predictions: list) -> list[dict]:
        """The questions that the model answered, with the first place of each answer in its context."""
        rows = []
        for row, answer in zip(data, predictions, strict=True):
            if answer:
                rows.append(row | {"answers": {"text": [answer], "answer_start": [row["context"].find(answer)]}})
        return rows

    def split(self, data: Dataset, validation_fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Splits by whole articles; see `split_by_article`."""
        return split_by_article(data, validation_fraction, seed)

    def inputs(self, tokenizer, data: Dataset, options: DataOptions) -> list[dict[str, list[int]]]:
        """Windows of the questions and their contexts."""
        max_length = options.max_length or self.max_length
        windows = encode_windows(tokenizer, list(data["question"]), list(data["context"]), max_length, options.stride)
        return [window.inputs for window in windows]

    def evaluator(
        self, tokenizer, data: Dataset, config, options: DataOptions, batch_size: int = 32, progress: bool = False
    ) -> QuestionAnsweringEvaluator:
        """Exact match and F1."""
        return QuestionAnsweringEvaluator(
            tokenizer,
            data,
            max_length=options.max_length or self.max_length,
            stride=options.stride,
            handle_impossible_answer=options.handle_impossible_answer,
            batch_size=batch_size,
            progress=progress,
        )

    def pipeline_options(self, max_length: int | None) -> dict:
        """Tokens of a window."""
        return {} if max_length is None else {"max_seq_len": max_length}

    def training_features(self, tokenizer, data: Dataset, options: DataOptions) -> Dataset:
        """Windows with the positions of the answer."""
        return training_features(data, tokenizer, options.max_length or self.max_length, options.stride)


QUESTION_ANSWERING = register_task(QuestionAnswering())


@dataclass(frozen=True)
class SquadEvaluation:
    """Results of `evaluate_squad`.

    Args:
        exact_match (`float`): percent.
        f1 (`float`): percent.
        examples (`int`): questions.
        macs_mean, macs_ratio, latency_ms_p50, latency_ms_p90, threads, length_config: see [`Measurement`].
        predictions (`dict[str, str]`): question id to answer; of questions with one id, the last.
    """

    exact_match: float
    f1: float
    examples: int
    macs_mean: float
    macs_ratio: float
    latency_ms_p50: float | None
    latency_ms_p90: float | None
    threads: int
    length_config: list | None
    predictions: dict[str, str]

    def to_dict(self) -> dict:
        """Everything but the predictions."""
        fields = asdict(self)
        del fields["predictions"]
        return fields


def evaluate_squad(
    model,
    tokenizer,
    data: Dataset,
    budget=None,
    batch_size: int = 32,
    max_length: int = MAX_LENGTH,
    stride: int = STRIDE,
    max_answer_length: int = MAX_ANSWER_LENGTH,
    handle_impossible_answer: bool | None = None,
    latency_samples: int = 50,
    progress: bool = True,
    length_config=None,
) -> SquadEvaluation:
    """Measures a model on SQuAD-shaped questions.

    Args:
        model: any extractive question answering model of transformers or Optimum.
        tokenizer (`PreTrainedTokenizerFast`): tokenizer of the model.
        data (`datasets.Dataset`): rows of `load_squad`.
        budget (*optional*): for length-adaptive models, see [`SubNetwork.parse`]; `None` is the model's default.
        batch_size (`int`, *optional*, defaults to 32): windows of a batch, sorted by length and padded to the longest.
        max_length, stride: see `encode_windows`.
        max_answer_length, handle_impossible_answer: see [`QuestionAnsweringEvaluator`].
        latency_samples (`int`, *optional*, defaults to 50): windows to time at batch 1, spread over the lengths; 0 for none.
        progress (`bool`, *optional*, defaults to `True`): whether to show a progress bar.
        length_config (*optional*): short form of `budget` for a length configuration.

    Returns:
        [`SquadEvaluation`].

    Raises:
        ValueError: no questions, or a budget that the model cannot run; before any work.
    """
    if budget is not None and length_config is not None:
        raise ValueError(f"budget is {budget!r} and length_config is {length_config!r}; give one of them.")
    budget = length_config if budget is None else budget
    budget_arguments(model, budget)
    check_max_length(model.config, max_length)
    evaluator = QuestionAnsweringEvaluator(
        tokenizer, data, max_length, stride, max_answer_length, handle_impossible_answer, batch_size, progress
    )
    measurement = measure(model, evaluator, budget, latency_samples)
    predictions = dict(zip(data["id"], measurement.scores.predictions, strict=True))
    return SquadEvaluation(**measurement.to_dict(), predictions=predictions)
