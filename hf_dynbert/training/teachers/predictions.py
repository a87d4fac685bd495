# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a teacher answers, told on the student's tokens: both read the same characters, whatever their tokenizers."""

from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import torch
from datasets import Dataset, Features, Value
from transformers.utils import logging

from ...tasks.question_answering.features import MAX_LENGTH, MAX_QUESTION_LENGTH, STRIDE, encode_windows, shorten
from ...tasks.text_classification.data import MAX_TEXT_LENGTH, column_names, encode_texts, generic_names, read_texts
from ..batches import INPUTS, LOGITS, PLACES, TARGETS, TYPES, at_full_length
from .alignment import same_tokens, teacher_windows
from .cache import fingerprint, map_in_shards


ODD_TEXTS = 0.1  # part of the texts that may be cut differently: more is not the texts', but the tokenizers' doing

logger = logging.get_logger(__name__)


def teacher_predictions(
    teacher,
    teacher_tokenizer,
    tokenizer,
    data: Dataset,
    max_length: int = MAX_LENGTH,
    stride: int = STRIDE,
    max_question_length: int = MAX_QUESTION_LENGTH,
    temperature: float = 1.0,
    batch_size: int = 16,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """A teacher's start and end distributions over the tokens of the student's features; computed once and kept.

    Args:
        teacher (`PreTrainedModel`): any model for extractive question answering.
        teacher_tokenizer, tokenizer (`PreTrainedTokenizerFast`): of the teacher and of the student.
        data (`datasets.Dataset`): the questions that `training_features` got.
        max_length, stride, max_question_length: as given to `training_features`.
        temperature (`float`, *optional*, defaults to 1): divides the teacher's logits (arXiv 1503.02531, section 2). What is
            kept are distributions: the student learns at the same one, `DistillationArguments(teacher_temperature=...)`.
        batch_size (`int`, *optional*): windows that the teacher reads at once; changes nothing but time.
        cache_dir (`str` or `Path`, *optional*): where results are kept, by teacher, data and settings; a pass that was
            stopped goes on there. Beside the other caches of `datasets` when not given.

    Returns:
        `datasets.Dataset`: columns `teacher_start` and `teacher_end`, a row for each row of the features.

    Raises:
        ValueError: many windows with more tokens of the teacher than it can read (a few get no answers, and a warning); a
            slow tokenizer.
    """
    _check_fast(teacher_tokenizer, tokenizer)
    settings = [max_length, stride, max_question_length, temperature]
    teacher, limit = teacher.eval(), readable_tokens(teacher, teacher_tokenizer)

    def predict(batch: dict) -> dict:
        windows, views = _both(teacher_tokenizer, tokenizer, batch, *settings[:3])
        readable = _readable([view.inputs["input_ids"] for view in views], limit)
        return dict(
            zip(TARGETS, _spans(teacher, teacher_tokenizer, windows, views, readable, temperature, batch_size), strict=True)
        )

    features = Features({target: datasets.Sequence(Value("float32")) for target in TARGETS})
    key = fingerprint(teacher, [teacher_tokenizer, tokenizer], settings)
    return map_in_shards(predict, data, ["question", "context"], features, key, "Teacher", cache_dir)


def teacher_logits(
    teacher,
    teacher_tokenizer,
    tokenizer,
    data: Dataset,
    columns: Sequence[str],
    labels: dict[int, str],
    max_length: int = MAX_TEXT_LENGTH,
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """A teacher's logits for the texts of the student's features, in the order of the student's labels; kept as above.

    Where the student's tokens end at `max_length`, the teacher's text ends too: both judge the same characters.

    Args:
        teacher (`PreTrainedModel`): any model for sequence classification.
        teacher_tokenizer (`PreTrainedTokenizerBase`): its tokenizer; it need not be like the student's.
        tokenizer (`PreTrainedTokenizerFast`): of the student.
        data (`datasets.Dataset`): what `text_features` got.
        columns (`list[str]`): the text, or two texts that make a pair.
        labels (`dict[int, str]`): the student's `config.id2label`.
        max_length (`int`, *optional*): as given to `text_features`.
        batch_size (`int`, *optional*): texts that the teacher reads at once; changes nothing but time.
        cache_dir (`str` or `Path`, *optional*): see `teacher_predictions`.

    Returns:
        `datasets.Dataset`: column `teacher_logits`, a row for each row of the data.

    Raises:
        ValueError: a teacher with other labels, see `label_order`, or of several labels at once; a text with more of its
            tokens than it can read.
    """
    _check_fast(tokenizer)
    order = label_order(labels, teacher.config.id2label)
    if teacher.config.problem_type == "multi_label_classification":
        raise ValueError(
            "The teacher says of each label whether it is there (problem_type multi_label_classification). What can be "
            "learned are classes of which one is right, and real numbers. Take a teacher of such a task."
        )
    teacher, limit = teacher.eval(), readable_tokens(teacher, teacher_tokenizer)

    def predict(batch: dict) -> dict:
        encoding = encode_texts(tokenizer, batch, columns, max_length, return_offsets_mapping=True)
        inputs = teacher_tokenizer(*read_texts(encoding, batch, columns), verbose=False)
        _check_lengths(inputs["input_ids"], limit)
        size = len(inputs["input_ids"])
        rows = [{name: inputs[name][index] for name in inputs} for index in range(size)]
        by_length, found = sorted(range(size), key=lambda index: len(rows[index]["input_ids"])), [None] * size
        for begin in range(0, size, batch_size):
            chosen = by_length[begin : begin + batch_size]
            padded = teacher_tokenizer.pad([rows[index] for index in chosen], return_tensors="pt").to(teacher.device)
            with torch.inference_mode():
                logits = teacher(**padded, **at_full_length(teacher)).logits.float()[:, order].cpu()
            for index, row in zip(chosen, logits.tolist(), strict=True):
                found[index] = row
        return {LOGITS: found}

    key = fingerprint(teacher, [teacher_tokenizer, tokenizer], [max_length, order])
    features = Features({LOGITS: datasets.Sequence(Value("float32"))})
    return map_in_shards(predict, data, list(columns), features, key, "Teacher", cache_dir)


def label_order(labels: dict[int, str], teacher_labels: dict[int, str]) -> list[int]:
    """Where a teacher's logits have each label of a student, by name.

    Args:
        labels, teacher_labels (`dict[int, str]`): `config.id2label` of both; upper and lower case are the same.

    Returns:
        `list[int]`: the teacher's number for each of the student's labels.

    Raises:
        ValueError: other labels, or names on one side and on the other only `LABEL_0`, `LABEL_1`, ..., which say nothing.
    """
    mine, theirs = ([str(names[index]) for index in range(len(names))] for names in (labels, teacher_labels))
    if len(mine) == len(theirs) and (len(mine) == 1 or generic_names(mine) and generic_names(theirs)):
        return list(range(len(mine)))
    places = {name.lower(): index for index, name in enumerate(theirs)}
    if sorted(places) != sorted({name.lower() for name in mine}) or len(places) != len(mine):
        raise ValueError(
            f"The student's labels are {', '.join(mine)}, the teacher's {', '.join(theirs)}: which of them are the same "
            "cannot be told. Name the teacher's in their order with teacher_class_names (or teacher.config.id2label), and "
            "those of data that has only numbers with class_names."
        )
    return [places[name.lower()] for name in mine]


def readable_tokens(model, tokenizer) -> int:
    """How many tokens a model reads at once: what its tokenizer says, and no more than it has positions.

    Args:
        model (`PreTrainedModel`): of any architecture; relative and rotary positions set no limit.
        tokenizer (`PreTrainedTokenizerBase`): of the model.

    Returns:
        `int`: tokens, special ones included.
    """
    limits = [tokenizer.model_max_length]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # RoBERTa and MPNet number positions after that of padding
            limits.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    return min(limits)


def teacher_inputs(
    teacher_tokenizer,
    tokenizer,
    data: Dataset,
    max_length: int = MAX_LENGTH,
    stride: int = STRIDE,
    max_question_length: int = MAX_QUESTION_LENGTH,
) -> Dataset:
    """What a teacher reads beside the student's features, for losses of layers: both see the same tokens.

    Args:
        teacher_tokenizer, tokenizer (`PreTrainedTokenizerFast`): of the teacher and of the student. They may number their
            tokens differently and put other special tokens between, but must cut words alike, as those of MPNet and BERT do.
        data (`datasets.Dataset`): the questions that `training_features` got.
        max_length, stride, max_question_length: as given to `training_features`.

    Returns:
        `datasets.Dataset`: columns `teacher_input_ids`, and `teacher_places`, the teacher's token for each of the student's;
        a row for each row of the features.

    Raises:
        ValueError: tokenizers that cut words differently; a slow one; a window that the teacher cannot read.
    """

    _check_fast(teacher_tokenizer, tokenizer)

    def inputs(batch: dict) -> dict:
        windows, views = _both(teacher_tokenizer, tokenizer, batch, max_length, stride, max_question_length)
        _check_lengths([view.inputs["input_ids"] for view in views], teacher_tokenizer.model_max_length)
        pairs = [(window.inputs, view.inputs) for window, view in zip(windows, views, strict=True)]
        return _beside(pairs, tokenizer, teacher_tokenizer)

    return data.map(inputs, batched=True, remove_columns=data.column_names, desc="Teacher's tokens")


def teacher_text_inputs(
    teacher_tokenizer, tokenizer, data: Dataset, columns: Sequence[str], max_length: int = MAX_TEXT_LENGTH
) -> Dataset:
    """What a teacher reads beside the student's features of a text or of a pair of texts, see `teacher_inputs`.

    Args:
        teacher_tokenizer, tokenizer (`PreTrainedTokenizerFast`): of the teacher and of the student.
        data (`datasets.Dataset`): what `text_features` got.
        columns (`list[str]`): the text, or two texts that make a pair.
        max_length (`int`, *optional*): as given to `text_features`.

    Returns:
        `datasets.Dataset`: as `teacher_inputs`.

    Raises:
        ValueError: tokenizers that cut words differently; a text that the teacher cannot read.
    """

    _check_fast(teacher_tokenizer, tokenizer)

    def inputs(batch: dict) -> dict:
        encoding = encode_texts(tokenizer, batch, columns, max_length, return_offsets_mapping=True)
        views = teacher_tokenizer(*read_texts(encoding, batch, columns), verbose=False)
        _check_lengths(views["input_ids"], teacher_tokenizer.model_max_length)
        names = [name for name in ("input_ids", "token_type_ids") if name in views]
        pairs = [
            ({"input_ids": ids}, {name: views[name][index] for name in names})
            for index, ids in enumerate(encoding["input_ids"])
        ]
        return _beside(pairs, tokenizer, teacher_tokenizer)

    return data.map(inputs, batched=True, remove_columns=column_names(data))


def _both(teacher_tokenizer, tokenizer, batch: dict, max_length: int, stride: int, max_question_length: int):
    """The student's windows and the teacher's."""
    windows = encode_windows(tokenizer, batch["question"], batch["context"], max_length, stride, max_question_length)
    questions = shorten(tokenizer, batch["question"], max_question_length)
    views = teacher_windows(windows, questions, batch["context"], teacher_tokenizer)
    return windows, views


def _check_lengths(tokens: list[list[int]], limit: int) -> None:
    longest = max(map(len, tokens))
    if longest > limit:
        raise ValueError(f"A window has {longest} tokens of the teacher, which reads {limit}; make max_length smaller.")


def _readable(tokens: list[list[int]], limit: int) -> list[int]:
    """The windows that a teacher can read; a few that are longer in its tokens are left out."""
    readable = [index for index, ids in enumerate(tokens) if len(ids) <= limit]
    odd = len(tokens) - len(readable)
    if odd > max(1, ODD_TEXTS * len(tokens)) or not readable:
        _check_lengths(tokens, limit)
    if odd:
        logger.warning(
            f"{odd} of {len(tokens)} windows have more than {limit} tokens of the teacher: it says nothing of them."
        )
    return readable


def _beside(pairs: list[tuple[dict, dict]], tokenizer, teacher_tokenizer) -> dict:
    """The teacher's tokens and their places, of pairs of what the student and what the teacher reads.

    A text in which somebody wrote what is a special token to one of them has no places: nothing is compared there.
    """
    places, refused = [], None
    for mine, theirs in pairs:
        try:
            places.append(same_tokens(mine["input_ids"], theirs["input_ids"], tokenizer, teacher_tokenizer))
        except ValueError as error:
            places.append([-1] * len(mine["input_ids"]))
            refused = error
    odd = sum(max(row) < 0 for row in places)
    if odd > max(1, ODD_TEXTS * len(pairs)):
        raise refused
    if odd:
        logger.warning(f"{odd} of {len(pairs)} texts are cut differently and left out of what layers learn: {refused}")
    columns = {INPUTS: [theirs["input_ids"] for _, theirs in pairs], PLACES: places}
    if "token_type_ids" in pairs[0][1]:
        columns[TYPES] = [theirs["token_type_ids"] for _, theirs in pairs]
    return columns


def _check_fast(*tokenizers) -> None:
    for tokenizer in tokenizers:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"{type(tokenizer).__name__} is a slow tokenizer and cannot tell which characters a token stands for; load "
                "it with AutoTokenizer.from_pretrained(..., use_fast=True)."
            )


def _spans(teacher, tokenizer, windows, views, readable, temperature: float, batch_size: int) -> tuple[list, list]:
    """Start and end distributions, a list of each window's tokens each, all 0 where the teacher cannot read; windows of like
    length are read together.
    """
    found = [[np.zeros(len(window.offsets), dtype=np.float32)] * 2 for window in windows]
    order = sorted(readable, key=lambda index: len(views[index].inputs["input_ids"]))
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        batch = tokenizer.pad([views[index].inputs for index in chosen], return_tensors="pt").to(teacher.device)
        with torch.inference_mode():
            output = teacher(**batch, **at_full_length(teacher))
        real = batch["attention_mask"].bool()
        spans = [
            (logits.float().masked_fill(~real, -torch.inf) / temperature).softmax(dim=-1).cpu().numpy()
            for logits in (output.start_logits, output.end_logits)
        ]
        for row, index in enumerate(chosen):
            view, size = views[index], len(windows[index].offsets)
            found[index] = [
                _moved(span[row, real[row].numpy(force=True)], places, size)
                for span, places in zip(spans, (view.starts, view.ends), strict=True)
            ]
    return [starts for starts, _ in found], [ends for _, ends in found]


def _moved(probabilities: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    """Probabilities of tokens summed on their places among `size` others; what has none goes to the rest in proportion."""
    there, moved = places >= 0, np.zeros(size, dtype=np.float32)
    np.add.at(moved, places[there], probabilities[there])
    return moved / max(moved.sum(), np.finfo(np.float32).tiny)
