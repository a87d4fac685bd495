# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""From start and end logits to answers; numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .features import Window


MAX_ANSWER_LENGTH = 30  # tokens; the value of BERT's own SQuAD script


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

    Logits are normalised over the windows together, so that spans of different windows compare as their logits do.

    Args:
        context (`str`): where the answers are.
        windows (`list[Window]`): the question's windows.
        start_logits (`list[np.ndarray]`): one a window, of shape `(L,)` or longer (padding behind is ignored).
        end_logits (`list[np.ndarray]`): likewise.
        top_k (`int`, *optional*, defaults to 1): most answers to return.
        max_answer_length (`int`, *optional*, defaults to 30): most tokens of an answer.
        handle_impossible_answer (`bool`, *optional*): whether "no answer" competes, scored by the least likely window's CLS.

    Returns:
        `list[Answer]`: different spans, best first; one empty answer with score 0 if no token can be one.
    """
    usable = [window.in_context.copy() for window in windows]
    if handle_impossible_answer:
        for mask in usable:
            mask[0] = True  # CLS takes part in the normalisation
    starts = _normalize(start_logits, usable)
    ends = _normalize(end_logits, usable)
    spans: dict[tuple[int, int], float] = {}
    for window, start, end in zip(windows, starts, ends, strict=True):
        for score, first, last in _best_spans(start, end, window.in_context, top_k, max_answer_length):
            place = (int(window.offsets[first, 0]), int(window.offsets[last, 1]))
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


def _best_spans(start, end, in_context, top_k: int, max_answer_length: int) -> list[tuple[float, int, int]]:
    """The best (score, first token, last token) of a window, at most `top_k`, exactly."""
    length = len(start)
    reach = min(max_answer_length, length)
    start = np.where(in_context, start, -np.inf)
    end = np.concatenate([np.where(in_context, end, -np.inf), np.full(reach, -np.inf)])
    scores = start[:, None] + np.lib.stride_tricks.sliding_window_view(end, reach)[:length]  # (start, answer length - 1)
    flat = scores.ravel()
    few = min(top_k, flat.size)
    best = np.argpartition(-flat, few - 1)[:few] if few < flat.size else np.arange(flat.size)
    firsts, extra = np.unravel_index(best, scores.shape)
    return [
        (scores[first, more], int(first), int(first + more))
        for first, more in zip(firsts, extra, strict=True)
        if np.isfinite(scores[first, more])
    ]
