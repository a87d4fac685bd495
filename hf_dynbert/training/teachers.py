# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A teacher's answers and inputs at the student's tokens: both models read the same characters with their own tokenizers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from datasets import Dataset, Features, Value
from transformers.utils import logging

from ..tasks.inference import max_tokens_of
from ..tasks.question_answering.features import MAX_QUESTION_LENGTH, encode_windows, shorten
from ..tasks.text_classification.data import MAX_TEXT_LENGTH, column_names, encode_texts, read_texts
from ..tasks.text_classification.labels import generic_names
from ..utils.defaults import MAX_LENGTH, STRIDE
from .batches import INPUTS, LOGITS, PLACES, TARGETS, TYPES, budget_argument
from .cache import fingerprint, map_in_shards
from .losses import log_probabilities


ODD_TEXTS = 0.1  # largest share of texts that may be too long for the teacher, or that its tokenizer may split differently

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class Tokens:
    """Tokens of a text, or of a pair of texts, for one model."""

    inputs: dict[str, list[int]]
    offsets: np.ndarray  # (T, 2): first character of each token, and the character behind its last
    sequences: np.ndarray  # (T,): text that each token belongs to, 0 or 1; -1 for special tokens


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
        teacher_tokenizer, tokenizer (`PreTrainedTokenizerFast`): of the teacher and of the student.
        data (`datasets.Dataset`): the questions given to `training_features`.
        max_length, stride, max_question_length: as given to `training_features`.
        temperature (`float`, *optional*, defaults to 1): divides the teacher's logits (arXiv 1503.02531, section 2). Give
            the student the same value: `DistillationArguments(teacher_temperature=...)`.
        batch_size (`int`, *optional*): windows of a batch; changes only the time.
        cache_dir (`str` or `Path`, *optional*): folder of the cache, from which an interrupted pass resumes; by default that
            of `datasets`.

    Returns:
        `datasets.Dataset`: columns `teacher_start` and `teacher_end`, a row for each row of the features.

    Raises:
        ValueError: many windows are longer than the teacher can read; a few get no answers and a warning.
    """
    lengths, limit = (max_length, stride, max_question_length), readable_tokens(teacher, teacher_tokenizer)

    def predict(batch: dict) -> dict:
        students, teachers = _read_windows(teacher_tokenizer, tokenizer, batch, *lengths)
        columns = {name: [np.zeros(len(student.offsets), np.float32) for student in students] for name in TARGETS}
        readable = {i: tokens.inputs for i, tokens in enumerate(teachers) if len(tokens.offsets) <= limit}
        too_long = f"have more than {limit} tokens of the teacher"
        _check_few(len(teachers) - len(readable), len(teachers), too_long, "Make max_length smaller.")
        for indices, mask, output in _answers(teacher, teacher_tokenizer, readable, batch_size):
            for name, logits in zip(TARGETS, (output.start_logits, output.end_logits), strict=True):
                probabilities = log_probabilities(logits, mask, temperature).exp().cpu()
                for index, row, real in zip(indices, probabilities, mask.cpu(), strict=True):
                    moved = move(row[real].numpy(), teachers[index], students[index], last=name == TARGETS[1])
                    columns[name][index] = moved
        return columns

    features = Features({name: datasets.Sequence(Value("float32")) for name in TARGETS})
    key = fingerprint(teacher, [teacher_tokenizer, tokenizer], [*lengths, temperature])
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
    cached. Texts that `max_length` truncates are truncated at the same character for the teacher.

    Args:
        teacher (`PreTrainedModel`): any model for sequence classification with the student's labels.
        teacher_tokenizer (`PreTrainedTokenizerBase`): the teacher's tokenizer; any tokenizer.
        tokenizer (`PreTrainedTokenizerFast`): the student's tokenizer.
        data (`datasets.Dataset`), columns (`list[str]`), max_length (`int`): as given to `text_features`.
        labels (`dict[int, str]`): the student's `config.id2label`.
        batch_size, cache_dir: see `teacher_predictions`.

    Returns:
        `datasets.Dataset`: column `teacher_logits`, a row for each row of the data.
    """
    order = label_order(labels, teacher.config.id2label)
    limit = readable_tokens(teacher, teacher_tokenizer)

    def predict(batch: dict) -> dict:
        encoding = encode_texts(tokenizer, batch, columns, max_length, return_offsets_mapping=True)
        inputs = teacher_tokenizer(*read_texts(encoding, batch, columns), verbose=False)
        _check_lengths(inputs["input_ids"], limit)
        rows = {i: {name: inputs[name][i] for name in inputs} for i in range(len(inputs["input_ids"]))}
        logits = {}
        for indices, _, output in _answers(teacher, teacher_tokenizer, rows, batch_size):
            logits |= zip(indices, output.logits.float()[:, order].tolist(), strict=True)
        return {LOGITS: [logits[index] for index in rows]}

    features = Features({LOGITS: datasets.Sequence(Value("float32"))})
    key = fingerprint(teacher, [teacher_tokenizer, tokenizer], [max_length, order])
    return map_in_shards(predict, data, list(columns), features, key, "Teacher", cache_dir)


def teacher_inputs(
    teacher_tokenizer,
    tokenizer,
    data: Dataset,
    max_length: int = MAX_LENGTH,
    stride: int = STRIDE,
    max_question_length: int = MAX_QUESTION_LENGTH,
) -> Dataset:
    """A teacher's inputs for the rows of the student's features, for terms between layers: both models read the same tokens.

    Args:
        teacher_tokenizer, tokenizer (`PreTrainedTokenizerFast`): of the teacher and of the student. They may number tokens
            differently and add other special tokens, but must split words alike, as MPNet's and BERT's do.
        data (`datasets.Dataset`), max_length, stride, max_question_length: as given to `training_features`.

    Returns:
        `datasets.Dataset`: columns `teacher_input_ids`, and `teacher_places`, the teacher's token for each of the student's;
        a row for each row of the features.
    """

    def inputs(batch: dict) -> dict:
        both = _read_windows(teacher_tokenizer, tokenizer, batch, max_length, stride, max_question_length)
        return _input_columns(*both, teacher_tokenizer)

    return data.map(inputs, batched=True, remove_columns=data.column_names, desc="Teacher's tokens")


def teacher_text_inputs(
    teacher_tokenizer, tokenizer, data: Dataset, columns: Sequence[str], max_length: int = MAX_TEXT_LENGTH
) -> Dataset:
    """As `teacher_inputs`, for data, columns and `max_length` as given to `text_features`."""

    def inputs(batch: dict) -> dict:
        encoding = encode_texts(tokenizer, batch, columns, max_length, return_offsets_mapping=True)
        teacher_encoding = teacher_tokenizer(*read_texts(encoding, batch, columns), verbose=False)
        return _input_columns(_tokens(encoding), _tokens(teacher_encoding), teacher_tokenizer)

    return data.map(inputs, batched=True, remove_columns=column_names(data))


def label_order(labels: dict[int, str], teacher_labels: dict[int, str]) -> list[int]:
    """The index among a teacher's labels of each label of a student, by name in upper or lower case (`config.id2label`)."""
    names = [str(labels[index]) for index in range(len(labels))]
    teacher_names = [str(teacher_labels[index]) for index in range(len(teacher_labels))]
    unnamed = generic_names(names) and generic_names(teacher_names)
    if len(names) == len(teacher_names) and (len(names) == 1 or unnamed):
        return list(range(len(names)))
    positions = {name.lower(): index for index, name in enumerate(teacher_names)}
    if sorted(positions) != sorted({name.lower() for name in names}) or len(positions) != len(names):
        raise ValueError(
            f"The student's labels are {', '.join(names)}, the teacher's {', '.join(teacher_names)}; they cannot be matched "
            "by name. Give the teacher's names in their order with teacher_class_names (or teacher.config.id2label), and "
            "the names of data that has only numbers with class_names."
        )
    return [positions[name.lower()] for name in names]


def readable_tokens(model, tokenizer) -> int:
    """The longest input of a model in tokens: the tokenizer's limit, and at most the number of positions."""
    positions = max_tokens_of(model.config)
    return tokenizer.model_max_length if positions is None else min(tokenizer.model_max_length, positions)


def same_tokens(student: Tokens, teacher: Tokens) -> np.ndarray:
    """The position of each token of the student among the teacher's; -1 everywhere if the text is split differently.

    Special tokens between the same two words are matched in order; a special token without a counterpart gets the position
    of the teacher's last one there, or -1.
    """
    is_word, teacher_is_word = student.sequences >= 0, teacher.sequences >= 0
    positions = np.full(len(is_word), -1)
    words, teacher_words = (np.column_stack([tokens.sequences, tokens.offsets]) for tokens in (student, teacher))
    if not np.array_equal(words[is_word], teacher_words[teacher_is_word]):
        return positions
    positions[is_word] = np.flatnonzero(teacher_is_word)
    words_before, teacher_words_before = np.cumsum(is_word), np.cumsum(teacher_is_word)
    for words in set(words_before[~is_word]):
        special = np.flatnonzero(~is_word & (words_before == words))
        there = np.flatnonzero(~teacher_is_word & (teacher_words_before == words))
        if len(there):
            positions[special] = there[np.minimum(np.arange(len(special)), len(there) - 1)]
    return positions


def move(probabilities: np.ndarray, teacher: Tokens, student: Tokens, last: bool) -> np.ndarray:
    """Probabilities of the teacher's context tokens, summed at the student's tokens and normalised.

    A probability moves to the student's token with the first character of the teacher's token, or with `last` its last
    character. If no token has this character (a combining accent), it moves to the next token, or with `last` the previous.
    """
    source, target = (
        np.flatnonzero((tokens.sequences == 1) & (tokens.offsets[:, 1] > tokens.offsets[:, 0]))
        for tokens in (teacher, student)
    )
    (begins, ends), (starts, stops) = teacher.offsets[source].T, student.offsets[target].T
    if last:
        order = (np.searchsorted(starts, ends, side="left") - 1).clip(min=0)
    else:
        order = np.searchsorted(stops, begins, side="right").clip(max=len(target) - 1)
    moved = np.zeros(len(student.offsets), dtype=np.float32)
    np.add.at(moved, target[order], probabilities[source])
    if teacher.sequences[0] == -1:  # the first token means "no answer" to both models
        moved[0] += probabilities[0]
    return moved / max(moved.sum(), np.finfo(np.float32).tiny)


def _read_windows(teacher_tokenizer, tokenizer, batch: dict, max_length: int, stride: int, max_question_length: int):
    """The student's windows, and the same characters as tokens of the teacher, which splits the whole context at once."""
    questions = shorten(tokenizer, batch["question"], max_question_length)
    whole = _tokens(teacher_tokenizer(questions, batch["context"], truncation=False, verbose=False))
    students, teachers = [], []
    for window in encode_windows(tokenizer, batch["question"], batch["context"], max_length, stride, max_question_length):
        is_word = window.offsets[:, 1] > window.offsets[:, 0]
        sequences = np.where(window.in_context, 1, np.where(is_word, 0, -1))
        students.append(Tokens(window.inputs, window.offsets, sequences))
        context = window.offsets[window.in_context]
        begin, end = (context[0, 0], context[-1, 1]) if len(context) else (0, 0)
        tokens = whole[window.example]
        inside = (tokens.offsets[:, 1] > begin) & (tokens.offsets[:, 0] < end)
        kept = (tokens.sequences != 1) | inside
        inputs = {name: np.array(values)[kept].tolist() for name, values in tokens.inputs.items()}
        teachers.append(Tokens(inputs, tokens.offsets[kept], tokens.sequences[kept]))
    return students, teachers


def _tokens(encoding) -> list[Tokens]:
    """The tokens of each text."""
    if not encoding.is_fast:
        raise ValueError("A slow tokenizer returns no character offsets; load a fast one with AutoTokenizer.")
    tokens = []
    for index, row in enumerate(encoding.encodings):
        inputs = {name: encoding[name][index] for name in encoding if name != "offset_mapping"}
        sequences = [-1 if sequence is None else sequence for sequence in row.sequence_ids]
        tokens.append(Tokens(inputs, np.array(row.offsets).reshape(-1, 2), np.array(sequences)))
    return tokens


def _answers(teacher, tokenizer, inputs: dict[int, dict], batch_size: int) -> Iterator[tuple]:
    """Runs a teacher on batches of similar length; yields the indices of each batch, its token mask and the output."""
    order = sorted(inputs, key=lambda index: len(inputs[index]["input_ids"]))
    teacher.eval()
    for begin in range(0, len(order), batch_size):
        indices = order[begin : begin + batch_size]
        batch = tokenizer.pad([inputs[index] for index in indices], return_tensors="pt").to(teacher.device)
        with torch.inference_mode():
            output = teacher(**batch, **budget_argument(teacher))
        yield indices, batch["attention_mask"].bool(), output


def _input_columns(students: list[Tokens], teachers: list[Tokens], teacher_tokenizer) -> dict:
    """The teacher's tokens and their positions. A text that is split differently gets no positions and is not compared."""
    _check_lengths([teacher.inputs["input_ids"] for teacher in teachers], teacher_tokenizer.model_max_length)
    positions = [same_tokens(*pair) for pair in zip(students, teachers, strict=True)]
    advice = (
        "Losses of hidden states, attention and relations need tokenizers that split words alike, as MPNet's and BERT's do. "
        "prediction_weight works with any; set the weights of the other terms to 0."
    )
    odd = sum(row.max() < 0 for row in positions)
    _check_few(odd, len(teachers), "are split differently by the teacher's tokenizer", advice)
    columns = {PLACES: positions}
    for name, column in (("input_ids", INPUTS), ("token_type_ids", TYPES)):
        if name in teachers[0].inputs:
            columns[column] = [teacher.inputs[name] for teacher in teachers]
    return columns


def _check_few(odd: int, total: int, what: str, advice: str) -> None:
    """Warns of a few texts from which nothing can be learned, and refuses many."""
    if odd > max(1, ODD_TEXTS * total):
        raise ValueError(f"{odd} of {total} texts {what}. {advice}")
    if odd:
        logger.warning(f"{odd} of {total} texts {what}; nothing is learned from the teacher there.")


def _check_lengths(tokens: list[list[int]], limit: int) -> None:
    longest = max(map(len, tokens))
    if longest > limit:
        raise ValueError(f"A text has {longest} tokens of the teacher, which reads {limit}; make max_length smaller.")
