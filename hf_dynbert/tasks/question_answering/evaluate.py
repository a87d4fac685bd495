# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Quality, cost and latency of a model on SQuAD-shaped data."""

import time
from dataclasses import asdict, dataclass

import numpy as np
import torch
from datasets import Dataset
from tqdm.auto import tqdm

from ...subnetwork import count_macs
from .decoding import MAX_ANSWER_LENGTH, decode_answers
from .features import MAX_LENGTH, STRIDE, Window, check_lengths, check_max_length, encode_windows
from .metrics import squad_metrics


LATENCY_WARMUP = 5  # calls that are not timed: the first ones allocate and choose kernels


@dataclass(frozen=True)
class SquadEvaluation:
    """What `evaluate_squad` measured.

    Args:
        exact_match (`float`): percent.
        f1 (`float`): percent.
        examples (`int`): questions.
        macs_mean (`float`): multiply-accumulates a window, mean, counted on its real tokens; padding does not count.
        macs_ratio (`float`): the same as a part of what all tokens cost.
        latency_ms_p50 (`float`): median of single calls at batch 1, each window at its own length, without padding.
        latency_ms_p90 (`float`): nine tenths of those calls were as fast.
        threads (`int`): of each call.
        length_config (`list` or `None`): what was evaluated; `None` is all tokens.
        predictions (`dict[str, str]`): question id to answer.
    """

    exact_match: float
    f1: float
    examples: int
    macs_mean: float
    macs_ratio: float
    latency_ms_p50: float
    latency_ms_p90: float
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
    length_config=None,
    batch_size: int = 32,
    max_length: int = MAX_LENGTH,
    stride: int = STRIDE,
    max_answer_length: int = MAX_ANSWER_LENGTH,
    handle_impossible_answer: bool = False,
    latency_samples: int = 50,
    progress: bool = True,
) -> SquadEvaluation:
    """Answers all questions, sorted by length and padded to the longest of a batch, and scores the answers.

    Args:
        model: any extractive question answering model of transformers or Optimum.
        tokenizer (`PreTrainedTokenizerFast`): of the model.
        data (`datasets.Dataset`): rows as `load_squad` returns them.
        length_config (*optional*): for our models, see [`DynamicTinyBertConfig`]; `None` is the model's default.
        batch_size (`int`, *optional*, defaults to 32): windows of a batch.
        max_length, stride: see `encode_windows`.
        max_answer_length, handle_impossible_answer: see `decode_answers`.
        latency_samples (`int`, *optional*, defaults to 50): windows, evenly spread over the lengths, to time at batch 1;
            0 measures no latency.
        progress (`bool`, *optional*, defaults to `True`): whether to show a progress bar.

    Returns:
        [`SquadEvaluation`].

    Raises:
        ValueError: no questions, a length configuration that the model cannot run, or windows larger than it reads.
    """
    _resolve(model, length_config)  # before any work
    check_max_length(model.config, max_length)
    sample = SquadSample(tokenizer, data, max_length, stride)
    return sample.evaluate(
        model, length_config, batch_size, max_answer_length, handle_impossible_answer, latency_samples, progress
    )


class SquadSample:
    """Questions tokenized once, to be answered at many length configurations or by many models.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): of the models.
        data (`datasets.Dataset`): rows as `load_squad` returns them.
        max_length, stride: see `encode_windows`.

    Raises:
        ValueError: no questions.
    """

    def __init__(self, tokenizer, data: Dataset, max_length: int = MAX_LENGTH, stride: int = STRIDE):
        if len(data) == 0:
            raise ValueError("There is nothing to evaluate: the data set is empty.")
        self.tokenizer, self.data = tokenizer, data
        self.answers = {row["id"]: row["answers"]["text"] for row in data.select_columns(["id", "answers"])}
        self.windows = encode_windows(tokenizer, data["question"], data["context"], max_length=max_length, stride=stride)
        self.lengths = [len(window.inputs["input_ids"]) for window in self.windows]
        self.order = sorted(range(len(self.windows)), key=lambda index: -self.lengths[index])

    def evaluate(
        self,
        model,
        length_config=None,
        batch_size: int = 32,
        max_answer_length: int = MAX_ANSWER_LENGTH,
        handle_impossible_answer: bool = False,
        latency_samples: int = 50,
        progress: bool = True,
    ) -> SquadEvaluation:
        """As `evaluate_squad`."""
        call = {} if length_config is None else {"length_config": length_config}
        resolved = _resolve(model, length_config)
        check_lengths(model.config, self.lengths)
        if hasattr(model, "eval"):
            model.eval()
        start_logits, end_logits = [None] * len(self.windows), [None] * len(self.windows)
        batches = [self.order[first : first + batch_size] for first in range(0, len(self.order), batch_size)]
        for batch in tqdm(batches, desc=_describe(length_config), disable=not progress):
            starts, ends = run_windows(model, self.tokenizer, [self.windows[index] for index in batch], **call)
            for index, start, end in zip(batch, starts, ends, strict=True):
                start_logits[index], end_logits[index] = start, end
        data, ordered = self.data, [self.windows[index] for index in self.order]
        predictions = _predict(data, self.windows, start_logits, end_logits, max_answer_length, handle_impossible_answer)
        macs, full = (np.mean([count_macs(model.config, config, n) for n in self.lengths]) for config in (resolved, None))
        latencies = _time_calls(model, self.tokenizer, ordered, latency_samples, call)
        return SquadEvaluation(
            **squad_metrics(predictions, self.answers),
            examples=len(data),
            macs_mean=float(macs),
            macs_ratio=float(macs / full),
            latency_ms_p50=float(np.percentile(latencies, 50)) if latencies else float("nan"),
            latency_ms_p90=float(np.percentile(latencies, 90)) if latencies else float("nan"),
            threads=getattr(model, "threads", None) or torch.get_num_threads(),
            length_config=resolved,
            predictions=predictions,
        )


def run_windows(model, tokenizer, windows: list[Window], **call) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Runs one padded batch; start and end logits come back a window, each of shape `(L,)`."""
    inputs = tokenizer.pad([window.inputs for window in windows], padding_side="right", return_tensors="pt")
    device = getattr(model, "device", None)
    inputs = {name: tensor.to(device) if isinstance(device, torch.device) else tensor for name, tensor in inputs.items()}
    with torch.inference_mode():
        output = model(**inputs, **call)
    starts, ends = (torch.as_tensor(rows).float().cpu().numpy() for rows in (output.start_logits, output.end_logits))
    lengths = [len(window.inputs["input_ids"]) for window in windows]
    return (
        [row[:length] for row, length in zip(starts, lengths, strict=True)],
        [row[:length] for row, length in zip(ends, lengths, strict=True)],
    )


def _predict(data, windows, start_logits, end_logits, max_answer_length, handle_impossible_answer) -> dict[str, str]:
    by_example: dict[int, list[int]] = {}
    for index, window in enumerate(windows):
        by_example.setdefault(window.example, []).append(index)
    predictions = {}
    for example, (question_id, context) in enumerate(zip(data["id"], data["context"], strict=True)):
        mine = by_example[example]
        best = decode_answers(
            context,
            [windows[i] for i in mine],
            [start_logits[i] for i in mine],
            [end_logits[i] for i in mine],
            max_answer_length=max_answer_length,
            handle_impossible_answer=handle_impossible_answer,
        )
        predictions[question_id] = best[0].answer
    return predictions


def _time_calls(model, tokenizer, windows: list[Window], samples: int, call: dict) -> list[float]:
    """Milliseconds of single calls at batch 1."""
    if not samples:
        return []
    picked = [windows[index * len(windows) // samples] for index in range(samples)]
    for window in picked[:: max(1, samples // LATENCY_WARMUP)]:
        run_windows(model, tokenizer, [window], **call)
    latencies = []
    for window in picked:
        begin = time.perf_counter()
        run_windows(model, tokenizer, [window], **call)
        latencies.append(1000 * (time.perf_counter() - begin))
    return latencies


def _resolve(model, length_config):
    """The length configuration that a call will use; models of other classes have none."""
    if hasattr(model.config, "resolve_length_config"):
        return model.config.resolve_length_config(length_config)
    if length_config is not None:
        raise ValueError(
            f"{type(model).__name__} has no length configuration (got {length_config!r}); "
            "load the checkpoint as DynamicTinyBertForQuestionAnswering to drop tokens."
        )
    return None


def _describe(length_config) -> str:
    return "Evaluating" if length_config is None else f"Evaluating at {length_config}"
