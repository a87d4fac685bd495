# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Turns start and end logits into answers. Needs NumPy only."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .features import Window


MAX_ANSWER_LENGTH = 30  # tokens; the value of BERT's own SQuAD script
# Thai, Lao, Burmese, Khmer and kana: no blanks between words, so a tokenizer's "word" there may be the whole text
NO_BLANKS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff]")


@dataclass(frozen=True)
class Answer:
    """A span of the context.

    Args:
        score (`float`): probability of its start times that of its end, over all windows of the question, in [0, 1].
        start (`int`): first character in the context.
        end (`int`): character behind the last.
        answer (`str`): `context[start:end]`; empty if there is no answer.
    """

    score: float
    start: int
    end: int
    answer: str


def decode_answers(
    context: str,
    windows: Sequence[Window],
    start_logits: Sequence[np.ndarray],
    end_logits: Sequence[np.ndarray],
    top_k: int = 1,
    max_answer_length: int = MAX_ANSWER_LENGTH,
    handle_impossible_answer: bool = False,
) -> list[Answer]:
    """Finds the best spans over all windows of one question.

    Logits are normalised over all windows together, so that scores of different windows are comparable. If windows have
    `words`, answers are whole words, unless these have more than `max_answer_length` tokens or a script without blanks
    between words. Answers have no blanks at either end, and include the combining marks of their last letter.

    Args:
        context (`str`): text that contains the answers.
        windows (`list[Window]`): the question's windows.
        start_logits (`list[np.ndarray]`): start logits of each window, of shape `(L,)` or longer (padding behind the
            L tokens is ignored).
        end_logits (`list[np.ndarray]`): end logits of each window, same shapes.
        top_k (`int`, *optional*, defaults to 1): largest number of answers to return.
        max_answer_length (`int`, *optional*, defaults to 30): largest number of tokens of an answer.
        handle_impossible_answer (`bool`, *optional*, defaults to `False`): whether "no answer" is a candidate. Its score is
            the lowest CLS score of all windows.

    Returns:
        `list[Answer]`: different spans, best first; `top_k` of them if the windows have as many. One empty answer with score
        0 if no token can be part of an answer.
    """
    usable = [window.in_context.copy() for window in windows]
    if handle_impossible_answer:
        for mask in usable:
            mask[0] = True  # CLS takes part in the normalisation
    starts = _normalize(start_logits, usable)
    ends = _normalize(end_logits, usable)
    spans: dict[tuple[int, int], float] = {}
    for window, start, end in zip(windows, starts, ends, strict=True):
        for place, score in _best_spans(context, window, start, end, top_k, max_answer_length).items():
            spans[place] = max(spans.get(place, 0.0), float(np.exp(score)))
    answers = [Answer(score, start, end, context[start:end]) for (start, end), score in spans.items()]
    if handle_impossible_answer:
        answers.append(Answer(min(float(np.exp(s[0] + e[0])) for s, e in zip(starts, ends, strict=True)), 0, 0, ""))
    answers.sort(key=lambda answer: (-answer.score, answer.start, answer.end))
    return answers[:top_k] or [Answer(0.0, 0, 0, "")]


def _normalize(logits: Sequence[np.ndarray], usable: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Log-probabilities over all usable tokens of all windows; minus infinity elsewhere."""
    masked = [
        np.where(mask, np.asarray(row, dtype=np.float64)[: len(mask)], -np.inf)
        for row, mask in zip(logits, usable, strict=True)
    ]
    highest = max((row.max(initial=-np.inf) for row in masked), default=-np.inf)
    if not np.isfinite(highest):
        return [np.full_like(row, -np.inf) for row in masked]
    total = sum(np.exp(row - highest).sum() for row in masked)
    return [row - highest - np.log(total) for row in masked]


def _best_spans(context: str, window: Window, start, end, top_k: int, max_answer_length: int) -> dict:
    """Scores of the `top_k` best spans of a window (or more), by first character and the character behind the last."""
    length = len(start)
    reach = min(max_answer_length, length)
    start = np.where(window.in_context, start, -np.inf)
    end = np.concatenate([np.where(window.in_context, end, -np.inf), np.full(reach, -np.inf)])
    scores = start[:, None] + np.lib.stride_tricks.sliding_window_view(end, reach)[:length]  # (start, answer length - 1)
    flat = scores.ravel()
    possible = int(np.isfinite(flat).sum())
    spans: dict[tuple[int, int], float] = {}
    taken = 0
    while len(spans) < top_k and taken < possible:  # token spans may be the same characters: take more until `top_k` differ
        taken = min(max(top_k, 4 * taken), possible)
        spans = {}
        for index in np.argpartition(-flat, taken - 1)[:taken]:
            first, more = divmod(int(index), reach)
            place = _characters(context, window, first, first + more, max_answer_length)
            if place[0] < place[1]:
                spans[place] = max(spans.get(place, -np.inf), flat[index])
    return spans


def _characters(context: str, window: Window, first: int, last: int, max_answer_length: int) -> tuple[int, int]:
    """First character of these tokens, and the character behind the last; both are equal if the tokens are blanks."""
    if window.words is not None:
        left, right = window.words[first, 0], window.words[last, 1]
        between = context[window.offsets[left, 0] : window.offsets[right, 1]]
        if right - left < max_answer_length and not NO_BLANKS.search(between):
            first, last = left, right
    start, end = int(window.offsets[first, 0]), int(window.offsets[last, 1])
    while start < end and context[start].isspace():
        start += 1
    while start < end and context[end - 1].isspace():
        end -= 1
    if start < end:
        while end < len(context) and unicodedata.category(context[end]).startswith("M"):
            end += 1
    return start, end
