# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Tokenizes questions and contexts into the windows that a span model reads; each token keeps its characters."""

from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from tokenizers import Encoding, Tokenizer

from ...utils.defaults import MAX_LENGTH, STRIDE
from .squad import check_rows


MAX_QUESTION_LENGTH = 64  # as BERT on SQuAD (arXiv 1810.04805)


@dataclass(frozen=True)
class Window:
    """One window on a question's context.

    Args:
        inputs (`dict[str, list[int]]`): model inputs of length L: `input_ids`, `attention_mask` and, if the tokenizer lists
            them in `model_input_names`, `token_type_ids`.
        offsets (`np.ndarray` of shape `(L, 2)`): first character of each token in the context, and the character behind its
            last.
        in_context (`np.ndarray` of shape `(L,)`, boolean): tokens that can be part of an answer.
        example (`int`): index of the question in the batch.
        words (`np.ndarray` of shape `(L, 2)`, *optional*): first and last token of the word that each token belongs to;
            `None` if answers need not be whole words.
    """

    inputs: dict[str, list[int]]
    offsets: np.ndarray
    in_context: np.ndarray
    example: int
    words: np.ndarray | None = None


def encode_windows(
    tokenizer,
    questions: list[str],
    contexts: list[str],
    max_length: int = MAX_LENGTH,
    stride: int = STRIDE,
    max_question_length: int = MAX_QUESTION_LENGTH,
    whole_words: bool = False,
) -> list[Window]:
    """Cuts questions with their contexts into windows.

    The tokenizer's own truncation and padding settings are neither used nor changed, so that threads can share it.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): tokenizer of the model.
        questions (`list[str]`): one per context. The end of a question longer than `max_question_length` is cut.
        contexts (`list[str]`): texts of any length.
        max_length (`int`, *optional*, defaults to 384): largest number of tokens of a window.
        stride (`int`, *optional*, defaults to 128): tokens that neighbouring windows of a context share.
        max_question_length (`int`, *optional*, defaults to 64): largest number of tokens of a question.
        whole_words (`bool`, *optional*, defaults to `False`): whether windows store the word of each token, with which
            `decode_answers` extends answers to whole words.

    Returns:
        `list[Window]`: at least one per question, in the order of the questions.

    Raises:
        ValueError: the tokenizer is slow, or the window has no room for the question, the stride and one more token.
    """
    backend = _stateless(tokenizer)
    _check_room(tokenizer, max_length, stride, max_question_length)
    pairs = list(zip(shorten(tokenizer, questions, max_question_length), contexts, strict=True))
    return [
        _window(tokenizer, encoding, kept, example, whole_words)
        for example, encoding in enumerate(backend.encode_batch(pairs))
        for kept in _cut(encoding, max_length, stride, max_question_length)
    ]


def training_features(
    data: Dataset,
    tokenizer,
    max_length: int = MAX_LENGTH,
    stride: int = STRIDE,
    max_question_length: int = MAX_QUESTION_LENGTH,
) -> Dataset:
    """Makes the features that a Trainer takes. In a window without the answer, both positions are those of CLS.

    Args:
        data (`datasets.Dataset`): rows as `load_squad` returns them, or `load_dataset("rajpurkar/squad")`.
        tokenizer (`PreTrainedTokenizerFast`): tokenizer of the model.
        max_length, stride, max_question_length: see `encode_windows`.

    Returns:
        `datasets.Dataset`: the model's inputs with `start_positions`, `end_positions`, and `length` for
        `train_sampling_strategy="group_by_length"`.

    Raises:
        ValueError: no rows, missing columns, or an answer that is not in its context at `answer_start`.
    """
    if len(data) == 0:
        raise ValueError("There is nothing to train on: the data set is empty.")
    check_rows(data)

    def features(batch: dict) -> dict:
        windows = encode_windows(tokenizer, batch["question"], batch["context"], max_length, stride, max_question_length)
        spans = [_span(window, batch["answers"][window.example]) for window in windows]
        columns = {name: [window.inputs[name] for window in windows] for name in windows[0].inputs}
        return columns | {
            "start_positions": [start for start, _ in spans],
            "end_positions": [end for _, end in spans],
            "length": [len(window.inputs["input_ids"]) for window in windows],
        }

    return data.map(features, batched=True, remove_columns=data.column_names, desc="Features")


def shorten(tokenizer, questions: list[str], most: int) -> list[str]:
    """Returns the questions without leading blanks, cut behind their first `most` tokens of this tokenizer."""
    questions = [question.lstrip() for question in questions]
    encodings = _stateless(tokenizer).encode_batch(questions, add_special_tokens=False)
    return [
        question[: encoding.offsets[most - 1][1]] if len(encoding) > most else question
        for question, encoding in zip(questions, encodings, strict=True)
    ]


def _stateless(tokenizer) -> Tokenizer:
    """The tokenizer's backend without truncation and padding: a copy if the tokenizer has either switched on.

    Calls of a `PreTrainedTokenizerFast` switch both, and fail with "Already borrowed" if another thread tokenizes meanwhile.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"{type(tokenizer).__name__} is a slow tokenizer, which does not return the characters of its tokens. Load the "
            "fast one: AutoTokenizer.from_pretrained(..., use_fast=True)."
        )
    backend = tokenizer.backend_tokenizer
    if backend.truncation is None and backend.padding is None:
        return backend
    backend = Tokenizer.from_str(backend.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def _check_room(tokenizer, max_length: int, stride: int, max_question_length: int) -> None:
    special = tokenizer.num_special_tokens_to_add(pair=True)
    needed = max_question_length + special + stride + 1
    if max_length < needed:
        raise ValueError(
            f"A window of {max_length} tokens has no room for a question of {max_question_length}, {special} special "
            f"tokens and a stride of {stride}: it must have at least {needed}, or question or stride must be shorter."
        )


def _cut(encoding: Encoding, max_length: int, stride: int, max_question_length: int) -> list[np.ndarray]:
    """For each window of a question with its whole context, the indices of its tokens."""
    sequences = np.array([-1 if sequence is None else sequence for sequence in encoding.sequence_ids])
    context, question = np.flatnonzero(sequences == 1), np.flatnonzero(sequences == 0)
    if not len(context):
        return [np.arange(len(encoding))[:max_length]]
    too_many = question[max_question_length:]  # the end of a cut question may have become several tokens
    before = np.setdiff1d(np.arange(context[0]), too_many)
    after = np.arange(context[-1] + 1, len(encoding))
    room = max_length - len(before) - len(after)
    end = max(len(context) - stride, 1)  # a window that starts here or later repeats the end of the window before
    parts = [context[first : first + room] for first in range(0, end, room - stride)]
    return [np.concatenate([before, part, after]) for part in parts]


def _window(tokenizer, encoding: Encoding, kept: np.ndarray, example: int, whole_words: bool) -> Window:
    """The window of these tokens."""
    columns = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask}
    if "token_type_ids" in tokenizer.model_input_names:
        columns["token_type_ids"] = encoding.type_ids
    inputs = {name: np.array(values)[kept].tolist() for name, values in columns.items()}
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)[kept]
    in_context = np.array([sequence == 1 for sequence in encoding.sequence_ids])[kept]
    words = _words(np.array(encoding.word_ids, dtype=object)[kept], in_context) if whole_words else None
    return Window(inputs, offsets, in_context & (offsets[:, 1] > offsets[:, 0]), example, words)


def _words(word_ids: np.ndarray, in_context: np.ndarray) -> np.ndarray:
    """For each token, the first and the last token of its word in this window; itself if it has no word."""
    words = np.repeat(np.arange(len(word_ids))[:, None], 2, axis=1)
    for token in range(1, len(word_ids)):
        same_word = word_ids[token] is not None and word_ids[token] == word_ids[token - 1]
        if same_word and in_context[token] and in_context[token - 1]:
            words[token, 0] = words[token - 1, 0]
    for token in range(len(word_ids) - 2, -1, -1):
        if words[token + 1, 0] <= token:
            words[token, 1] = words[token + 1, 1]
    return words


def _span(window: Window, answers: dict) -> tuple[int, int]:
    """First and last token of the first answer; CLS twice if it is not (wholly) in the window."""
    context = np.flatnonzero(window.in_context)
    if not answers["text"] or not len(context):
        return 0, 0
    first, last = answers["answer_start"][0], answers["answer_start"][0] + len(answers["text"][0])
    starts, ends = window.offsets[context, 0], window.offsets[context, 1]
    if starts[0] > first or ends[-1] < last:
        return 0, 0
    start = context[np.flatnonzero(ends > first)[0]]  # the tokenizer may have left out an answer's first or last characters
    end = context[np.flatnonzero(starts < last)[-1]]
    return int(start), int(max(start, end))
