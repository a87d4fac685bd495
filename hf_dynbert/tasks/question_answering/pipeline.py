# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The task `"extractive-qa"`: what transformers' `question-answering` pipeline was until 5.3, with a dial."""

from dataclasses import asdict

import torch
from transformers.pipelines.base import ChunkPipeline

from .decoding import decode_answers
from .features import MAX_QUESTION_LENGTH, Window, check_max_length, encode_windows, max_tokens_of


USAGE = 'Call it as pipe(question="Who wrote it?", context="Ada wrote it."), or with lists of the same length.'


class ExtractiveQAPipeline(ChunkPipeline):
    """Answers questions with spans of a context, with any extractive question answering model.

    Args:
        question (`str` or `list[str]`): the questions.
        context (`str` or `list[str]`): the texts that hold the answers; one context serves several questions.
        length_config (`list` or `str`, *optional*): for our models, see [`DynamicTinyBertConfig`].
        top_k (`int`, *optional*, defaults to 1): answers a question; more than one come as a list.
        doc_stride (`int`, *optional*): tokens that neighbouring windows share; 128, or a quarter of a smaller window.
        max_answer_len (`int`, *optional*, defaults to 15): most tokens of an answer.
        max_seq_len (`int`, *optional*): tokens of a window; 384, or the most that the model can take.
        max_question_len (`int`, *optional*): tokens of a question, whose end is cut; 64, or a quarter of a smaller window.
        handle_impossible_answer (`bool`, *optional*, defaults to `False`): whether "no answer" is one.
        align_to_words (`bool`, *optional*, defaults to `True`): whether answers begin and end with whole words.

    Returns:
        `dict` with `score`, `start`, `end` and `answer`, or a list of them: one a question where questions came as a list,
        `top_k` a question where `top_k` is above 1.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import hf_dynbert

    >>> ask = pipeline("extractive-qa", model="outputs/dynamic-minilm")
    >>> ask(question="Who keeps the light?", context="Ada keeps the light.", length_config=[1.0, 0.6, 0.5, 0.4, 0.3, 0.3])
    ```
    """

    default_input_names = "question,context"
    _load_tokenizer = True
    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False

    def _sanitize_parameters(
        self,
        length_config=None,
        top_k=None,
        doc_stride=None,
        max_answer_len=None,
        max_seq_len=None,
        max_question_len=None,
        handle_impossible_answer=None,
        align_to_words=None,
    ):
        for name, value in (("top_k", top_k), ("max_answer_len", max_answer_len)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1.")
        if max_seq_len is not None:
            check_max_length(self.model.config, max_seq_len, "max_seq_len", default=0)
        preprocess = {
            "doc_stride": doc_stride,
            "max_seq_len": max_seq_len,
            "max_question_len": max_question_len,
            "align_to_words": align_to_words,
        }
        postprocess = {
            "top_k": top_k,
            "max_answer_len": max_answer_len,
            "handle_impossible_answer": handle_impossible_answer,
        }
        return tuple(
            {name: value for name, value in group.items() if value is not None}
            for group in (preprocess, {"length_config": length_config}, postprocess)
        )

    def __call__(self, *args, question=None, context=None, **kwargs):
        """Answers; see the class."""
        inputs, several = _pairs(args, question, context)
        answers = super().__call__(inputs, **kwargs)
        return answers if several else answers[0]

    def preprocess(self, inputs, doc_stride=None, max_seq_len=None, max_question_len=None, align_to_words=True):
        """Yields the windows of one question."""
        longest = min(self.tokenizer.model_max_length, max_tokens_of(self.model.config) or 512)
        max_seq_len = max_seq_len or min(longest, 384)
        windows = encode_windows(
            self.tokenizer,
            [inputs["question"]],
            [inputs["context"]],
            max_length=max_seq_len,
            stride=min(128, max_seq_len // 4) if doc_stride is None else doc_stride,
            max_question_length=max_question_len or min(MAX_QUESTION_LENGTH, max_seq_len // 4),
            whole_words=align_to_words,
        )
        for index, window in enumerate(windows):
            tensors = {name: torch.tensor([values]) for name, values in window.inputs.items()}
            yield {"is_last": index == len(windows) - 1, "window": window, "context": inputs["context"], **tensors}

    def _forward(self, inputs, length_config=None):
        names = [name for name in self.tokenizer.model_input_names if name in inputs]
        call = {} if length_config is None else {"length_config": length_config}
        output = self.model(**{name: inputs[name] for name in names}, **call)
        passed = {name: inputs[name] for name in ("is_last", "window", "context")}
        return {"start": output.start_logits, "end": output.end_logits, **passed}

    def postprocess(self, model_outputs, top_k=1, max_answer_len=15, handle_impossible_answer=False):
        """Turns the windows' logits into answers."""
        windows: list[Window] = [output["window"] for output in model_outputs]
        starts, ends = (
            [torch.as_tensor(output[name]).float().cpu().numpy().reshape(-1) for output in model_outputs]
            for name in ("start", "end")
        )
        answers = decode_answers(
            model_outputs[0]["context"],
            windows,
            starts,
            ends,
            top_k=top_k,
            max_answer_length=max_answer_len,
            handle_impossible_answer=handle_impossible_answer,
        )
        answers = [asdict(answer) for answer in answers]
        return answers[0] if top_k == 1 else answers


def _pairs(args, question, context) -> tuple[list[dict], bool]:
    """The questions with their contexts, and whether they came as a list."""
    if args:
        if len(args) > 1 or question is not None or context is not None:
            raise ValueError(f"Give questions by name, or as dicts with question and context. {USAGE}")
        items = args[0] if isinstance(args[0], list) else [args[0]]
        several = isinstance(args[0], list)
    else:
        several = isinstance(question, list) or isinstance(context, list)
        questions = question if isinstance(question, list) else [question]
        contexts = context if isinstance(context, list) else [context]
        if len(contexts) == 1:
            contexts = contexts * len(questions)
        elif len(questions) == 1:
            questions = questions * len(contexts)
        if len(questions) != len(contexts):
            raise ValueError(f"{len(questions)} questions do not fit {len(contexts)} contexts. {USAGE}")
        items = [{"question": q, "context": c} for q, c in zip(questions, contexts, strict=True)]
    for item in items:
        for name in ("question", "context"):
            value = item.get(name) if isinstance(item, dict) else None
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"The {name} is {value!r}; it must be a text that is not empty. {USAGE}")
    return items, several
