# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A teacher's answers and inputs at the student's tokens: both models read the same characters with their own tokenizers."""

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


ODD_TEXTS = 0.1  # share of texts that may be split differently; a larger share means that the tokenizers differ

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
    """A teacher's start and end distributions over the tokens of the student's features; computed once and cached.

    Args:
        teacher (`PreTrainedModel`): any model for extractive question answering.
        teacher_tokenizer, tokenizer (`PreTrainedTokenizerFast`): tokenizers of the teacher and of the student.
        data (`datasets.Dataset`): the questions given to `training_features`.
        max_length, stride, max_question_length: as given to `training_features`.
        temperature (`float`, *optional*, defaults to 1): divides the teacher's logits (arXiv 1503.02531, section 2). Give
            the student the same value: `DistillationArguments(teacher_temperature=...)`.
        batch_size (`int`, *optional*): windows of a batch; changes only the time.
        cache_dir (`str` or `Path`, *optional*): folder of the cache; results are stored by teacher, data and
            settings, and an interrupted pass resumes. The cache folder of `datasets` when not given.

    Returns:
        `datasets.Dataset`: columns `teacher_start` and `teacher_end`, a row for each row of the features.

    Raises:
        ValueError: many windows are longer than the teacher can read (a few get no answers and a warning), or a tokenizer
            is slow.
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
    """A teacher's logits for the texts of the student's features, in the order of the student's labels; computed once and
    cached.

    A text that the student's `max_length` truncates is truncated at the same character for the teacher.

    Args:
        teacher (`PreTrainedModel`): any model for sequence classification.
        teacher_tokenizer (`PreTrainedTokenizerBase`): the teacher's tokenizer; any tokenizer.
        tokenizer (`PreTrainedTokenizerFast`): the student's tokenizer.
        data (`datasets.Dataset`): the rows given to `text_features`.
        columns (`list[str]`): the text, or two texts that make a pair.
        labels (`dict[int, str]`): the student's `config.id2label`.
        max_length (`int`, *optional*): as given to `text_features`.
        batch_size (`int`, *optional*): texts of a batch; changes only the time.
        cache_dir (`str` or `Path`, *optional*): see `teacher_predictions`.

    Returns:
        `datasets.Dataset`: column `teacher_logits`, a row for each row of the data.

    Raises:
        ValueError: the teacher has other labels (see `label_order`) or is a multi-label classifier, or a text is longer than
            the teacher can read.
    """
    _check_fast(tokenizer)
    order = label_order(labels, teacher.config.id2label)
    if teacher.config.problem_type == "multi_label_classification":
        raise ValueError(
            "The teacher is a multi-label classifier (problem_type multi_label_classification). teacher_logits takes "
            "single-label classifiers and regression; DistillationTrainer(teacher=...) takes this teacher too."
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
    """The index among a teacher's labels of each label of a student, by name.

    Args:
        labels, teacher_labels (`dict[int, str]`): `config.id2label` of both models; upper and lower case are equal.

    Returns:
        `list[int]`: the teacher's index for each of the student's labels.

    Raises:
        ValueError: the labels differ, or only one model has names and the other has `LABEL_0`, `LABEL_1` and so on.
    """
    names = [str(labels[index]) for index in range(len(labels))]
    teacher_names = [str(teacher_labels[index]) for index in range(len(teacher_labels))]
    unnamed = generic_names(names) and generic_names(teacher_names)
    if len(names) == len(teacher_names) and (len(names) == 1 or unnamed):
        return list(range(len(names)))
    places = {name.lower(): index for index, name in enumerate(teacher_names)}
    if sorted(places) != sorted({name.lower() for name in names}) or len(places) != len(names):
        raise ValueError(
            f"The student's labels are {', '.join(names)}, the teacher's {', '.join(teacher_names)}; they cannot be matched "
            "by name. Name the teacher's in their order with teacher_class_names (or teacher.config.id2label), and "
            "those of data that has only numbers with class_names."
        )
    return [places[name.lower()] for name in names]


def readable_tokens(model, tokenizer) -> int:
    """The longest input of a model in tokens: the tokenizer's limit, and at most the number of position embeddings.

    Args:
        model (`PreTrainedModel`): any architecture; relative and rotary positions set no limit.
        tokenizer (`PreTrainedTokenizerBase`): the model's tokenizer.

    Returns:
        `int`: tokens, special tokens included.
    """
    limits = [tokenizer.model_max_length]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # RoBERTa and MPNet count positions from the padding index on
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
    """The teacher's inputs beside the student's features, for terms between layers: both models read the same tokens.

    Args:
        teacher_tokenizer, tokenizer (`PreTrainedTokenizerFast`): tokenizers of the teacher and of the student. They may
            number tokens differently and add other special tokens, but must split words alike, as MPNet's and BERT's do.
        data (`datasets.Dataset`): the questions that `training_features` got.
        max_length, stride, max_question_length: as given to `training_features`.

    Returns:
        `datasets.Dataset`: columns `teacher_input_ids`, and `teacher_places`, the teacher's token for each of the student's;
        a row for each row of the features.

    Raises:
        ValueError: the tokenizers split words differently, a tokenizer is slow, or the teacher cannot read a window.
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
    """The teacher's inputs beside the student's features of a text or of a pair of texts, see `teacher_inputs`.

    Args:
        teacher_tokenizer, tokenizer (`PreTrainedTokenizerFast`): tokenizers of the teacher and of the student.
        data (`datasets.Dataset`): the rows given to `text_features`.
        columns (`list[str]`): the text, or two texts that make a pair.
        max_length (`int`, *optional*): as given to `text_features`.

    Returns:
        `datasets.Dataset`: as `teacher_inputs`.

    Raises:
        ValueError: the tokenizers split words differently, or the teacher cannot read a text.
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
    """Indices of the windows that a teacher can read; a few windows that are too long are left out."""
    readable = [index for index, ids in enumerate(tokens) if len(ids) <= limit]
    odd = len(tokens) - len(readable)
    if odd > max(1, ODD_TEXTS * len(tokens)) or not readable:
        _check_lengths(tokens, limit)
    if odd:
        logger.warning(f"{odd} of {len(tokens)} windows have more than {limit} tokens of the teacher; they get no answers.")
    return readable


def _beside(pairs: list[tuple[dict, dict]], tokenizer, teacher_tokenizer) -> dict:
    """The teacher's tokens and their positions, from pairs of inputs of the student and of the teacher.

    A text that contains the spelling of a special token of one model gets no positions, and nothing is compared there.
    """
    places, refused = [], None
    for inputs, teacher_inputs in pairs:
        try:
            places.append(same_tokens(inputs["input_ids"], teacher_inputs["input_ids"], tokenizer, teacher_tokenizer))
        except ValueError as error:
            places.append([-1] * len(inputs["input_ids"]))
            refused = error
    odd = sum(max(row) < 0 for row in places)
    if odd > max(1, ODD_TEXTS * len(pairs)):
        raise refused
    if odd:
        logger.warning(
            f"{odd} of {len(pairs)} texts are split differently and left out of the terms between layers: {refused}"
        )
    columns = {INPUTS: [teacher_inputs["input_ids"] for _, teacher_inputs in pairs], PLACES: places}
    if "token_type_ids" in pairs[0][1]:
        columns[TYPES] = [teacher_inputs["token_type_ids"] for _, teacher_inputs in pairs]
    return columns


def _check_fast(*tokenizers) -> None:
    for tokenizer in tokenizers:
        if not getattr(tokenizer, "is_fast", False):
            raise ValueError(
                f"{type(tokenizer).__name__} is a slow tokenizer, which returns no character offsets; load "
                "it with AutoTokenizer.from_pretrained(..., use_fast=True)."
            )


def _spans(teacher, tokenizer, windows, views, readable, temperature: float, batch_size: int) -> tuple[list, list]:
    """Start and end distributions of each window, 0 where the teacher cannot read it; batches have windows of similar
    length.
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
    """Probabilities of tokens, summed at their positions among `size` tokens and normalised."""
    there, moved = places >= 0, np.zeros(size, dtype=np.float32)
    np.add.at(moved, places[there], probabilities[there])
    return moved / max(moved.sum(), np.finfo(np.float32).tiny)
