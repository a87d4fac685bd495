# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Alignment of two tokenizers on one text: the position of each token among the other tokenizer's tokens."""

from dataclasses import dataclass

import numpy as np

from ...tasks.question_answering.features import Window


@dataclass(frozen=True)
class TeacherWindow:
    """A student's window in the teacher's tokens.

    Args:
        inputs (`dict[str, list[int]]`): inputs of the teacher.
        starts, ends (`np.ndarray` of shape `(T,)`): for each of the teacher's tokens, the student's token that holds its
            first or its last character; -1 without such a token.
    """

    inputs: dict[str, list[int]]
    starts: np.ndarray
    ends: np.ndarray


def same_tokens(ids: list[int], others: list[int], tokenizer, other_tokenizer) -> list[int]:
    """The position of each token among another tokenizer's tokens of the same text.

    Args:
        ids, others (`list[int]`): tokens of the text by both tokenizers.
        tokenizer, other_tokenizer (`PreTrainedTokenizerFast`): both tokenizers.

    Returns:
        `list[int]`: one position for each of `ids`. Special tokens between the same two words are matched in order; a
        special token without a counterpart gets the position of the last one there, or -1.

    Raises:
        ValueError: the tokenizers split the text differently.
    """
    tokens, other_tokens = _words(ids, tokenizer), _words(others, other_tokenizer)
    words = [word for _, word in tokens if word is not None]
    other_words = [word for _, word in other_tokens if word is not None]
    if words != other_words:
        differing = (i for i, pair in enumerate(zip(words, other_words, strict=False)) if pair[0] != pair[1])
        at = next(differing, min(len(words), len(other_words)))
        raise ValueError(
            f"The teacher's tokenizer splits {' '.join(words[at : at + 3])!r} into {' '.join(other_words[at : at + 3])!r}: "
            "losses of hidden states, attention and relations need tokenizers that split words alike, as MPNet's and BERT's "
            "do. prediction_weight works with any; set the weights of the other terms to 0."
        )
    places = iter([place for place, word in other_tokens if word is not None])
    gaps = _gaps(other_tokens)
    found, gap, seen = [], 0, 0
    for _, word in tokens:
        if word is None:
            there = gaps.get(gap, [])
            found.append(there[min(seen, len(there) - 1)] if there else -1)
            seen += 1
        else:
            found.append(next(places))
            gap, seen = gap + 1, 0
    return found


def _words(ids: list[int], tokenizer) -> list[tuple[int, str | None]]:
    """Position and spelling of each token; `None` for special tokens, except the unknown token, which is a word."""
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    spellings = tokenizer.convert_ids_to_tokens(ids)
    named = {tokenizer.unk_token: "[unknown]"}
    return [
        (place, None if token in special else named.get(spelling, spelling))
        for place, (token, spelling) in enumerate(zip(ids, spellings, strict=True))
    ]


def _gaps(tokens: list[tuple[int, str | None]]) -> dict[int, list[int]]:
    """Positions of special tokens, by the number of words before them."""
    gaps, words = {}, 0
    for place, word in tokens:
        if word is None:
            gaps.setdefault(words, []).append(place)
        else:
            words += 1
    return gaps


def teacher_windows(windows: list[Window], questions: list[str], contexts: list[str], tokenizer) -> list[TeacherWindow]:
    """The characters of the student's windows as the teacher's tokens.

    The teacher's tokenizer splits the whole context; tokens outside of a window are left out. So a window never splits a
    word differently than the whole context does.

    Args:
        windows (`list[Window]`): the student's windows.
        questions, contexts (`list[str]`): the texts of the windows, see `Window.example`.
        tokenizer (`PreTrainedTokenizerFast`): the teacher's tokenizer; a slow tokenizer returns no offsets.

    Returns:
        `list[TeacherWindow]`: one for each window.
    """
    encoding = tokenizer(questions, contexts, return_offsets_mapping=True, truncation=False, verbose=False)
    return [_view(window, encoding, tokenizer.model_input_names) for window in windows]


def align(
    source: np.ndarray, target: np.ndarray, source_tokens: np.ndarray, target_tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each source token, the target tokens that hold its first and its last character.

    Where the target tokenizer left a character out (a combining accent, say), a first character belongs to the next target
    token, and a last character to the previous one.

    Args:
        source, target (`np.ndarray` of shape `(S, 2)` and `(T, 2)`): first and end character of each token, in order.
        source_tokens, target_tokens (`np.ndarray`): indices of the tokens that stand for characters of the text.

    Returns:
        `np.ndarray` of shape `(S,)`, twice: the first and the last target token; -1 for tokens without characters.
    """
    firsts, lasts = np.full(len(source), -1), np.full(len(source), -1)
    if len(source_tokens) and len(target_tokens):
        (begin, end), (starts, ends) = source[source_tokens].T, target[target_tokens].T
        first = np.searchsorted(ends, begin, side="right")  # the first target token that ends after the source token's begin
        last = (
            np.searchsorted(starts, end, side="left") - 1
        )  # the last target token that starts before the source token's end
        real, most = end > begin, len(target_tokens) - 1
        firsts[source_tokens[real]] = target_tokens[first[real].clip(max=most)]
        lasts[source_tokens[real]] = target_tokens[last[real].clip(min=0)]
    return firsts, lasts


def _view(window: Window, encoding, names: list[str]) -> TeacherWindow:
    tokens = encoding.encodings[window.example]
    offsets, sequences = np.array(tokens.offsets).reshape(-1, 2), tokens.sequence_ids
    context = np.flatnonzero(window.in_context)
    low, high = (window.offsets[context[0], 0], window.offsets[context[-1], 1]) if len(context) else (0, 0)
    kept = [
        token
        for token, sequence in enumerate(sequences)
        if sequence != 1 or (offsets[token, 1] > low and offsets[token, 0] < high)
    ]
    in_context = np.array([place for place, token in enumerate(kept) if sequences[token] == 1], dtype=np.int64)
    starts, ends = align(offsets[kept], window.offsets, in_context, context)
    if sequences[0] is None:  # the first token means "no answer" to both models
        starts[0] = ends[0] = 0
    inputs = {name: [encoding[name][window.example][token] for token in kept] for name in names if name in encoding}
    return TeacherWindow(inputs, starts, ends)
