# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Two tokenizers on one text: which token of one stands where in the other."""

from dataclasses import dataclass

import numpy as np

from ...tasks.question_answering.features import Window


@dataclass(frozen=True)
class TeacherWindow:
    """What a teacher reads of a student's window.

    Args:
        inputs (`dict[str, list[int]]`): what the teacher takes.
        starts, ends (`np.ndarray` of shape `(T,)`): for each of its tokens the student's token with its first or last
            character; -1 where there is none.
    """

    inputs: dict[str, list[int]]
    starts: np.ndarray
    ends: np.ndarray


def same_tokens(ids: list[int], others: list[int], tokenizer, other_tokenizer) -> list[int]:
    """For each token its place among another tokenizer's tokens of the same text.

    Args:
        ids, others (`list[int]`): tokens of both.
        tokenizer, other_tokenizer (`PreTrainedTokenizerFast`): of both.

    Returns:
        `list[int]`: special tokens have the place of the first, or of the last, of those that stand in the same gap.

    Raises:
        ValueError: they cut the text differently.
    """
    mine, theirs = (_words(*pair) for pair in ((ids, tokenizer), (others, other_tokenizer)))
    words, other_words = ([word for _, word in found if word is not None] for found in (mine, theirs))
    if words != other_words:
        at = next((i for i, pair in enumerate(zip(words, other_words, strict=False)) if pair[0] != pair[1]), len(words))
        raise ValueError(
            f"The teacher's tokenizer cuts {' '.join(words[at : at + 3])!r} into {' '.join(other_words[at : at + 3])!r}: "
            "losses of hidden states, attention and relations need tokenizers that cut words alike (MPNet's and BERT's do). "
            "prediction_weight works with any; set the weights of the other terms to 0."
        )
    places = iter(place for place, word in theirs if word is not None)
    gaps = _gaps(theirs)
    found, gap, seen = [], 0, 0
    for _, word in mine:
        if word is None:
            there = gaps.get(gap, [])
            found.append(there[min(seen, len(there) - 1)] if there else -1)
            seen += 1
        else:
            found.append(next(places))
            gap, seen = gap + 1, 0
    return found


def _words(ids: list[int], tokenizer) -> list[tuple[int, str | None]]:
    """Place and spelling of each token, `None` for special ones; the unknown one is a word."""
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    spellings = tokenizer.convert_ids_to_tokens(ids)
    named = {tokenizer.unk_token: "[unknown]"}
    return [
        (place, None if token in special else named.get(spelling, spelling))
        for place, (token, spelling) in enumerate(zip(ids, spellings, strict=True))
    ]


def _gaps(tokens: list[tuple[int, str | None]]) -> dict[int, list[int]]:
    """Places of special tokens by how many words stand before them."""
    gaps, words = {}, 0
    for place, word in tokens:
        if word is None:
            gaps.setdefault(words, []).append(place)
        else:
            words += 1
    return gaps


def teacher_windows(windows: list[Window], questions: list[str], contexts: list[str], tokenizer) -> list[TeacherWindow]:
    """The same characters of the same contexts, as the teacher's tokens.

    The whole context is cut by the teacher's tokenizer and what lies outside of the window left out: no word begins anew
    where a window does.

    Args:
        windows (`list[Window]`): of the student.
        questions, contexts (`list[str]`): what the windows are of, see `Window.example`.
        tokenizer (`PreTrainedTokenizerFast`): of the teacher; a slow one knows no offsets.

    Returns:
        `list[TeacherWindow]`: one for each window.
    """
    encoding = tokenizer(questions, contexts, return_offsets_mapping=True, truncation=False, verbose=False)
    return [_view(window, encoding, tokenizer.model_input_names) for window in windows]


def align(
    source: np.ndarray, target: np.ndarray, source_tokens: np.ndarray, target_tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For tokens of one tokenizer, those of another with their first and with their last character.

    Characters that the other one left out (accents of their own, say) count to what follows for a first character, and to
    what stands before for a last one.

    Args:
        source, target (`np.ndarray` of shape `(S, 2)` and `(T, 2)`): characters of each token, from and up to, in order.
        source_tokens, target_tokens (`np.ndarray`): numbers of the tokens that stand for characters of the text.

    Returns:
        `np.ndarray` of shape `(S,)`, twice: the first and the last token, or -1 where nothing stands for characters.
    """
    firsts, lasts = np.full(len(source), -1), np.full(len(source), -1)
    if len(source_tokens) and len(target_tokens):
        (begin, end), (starts, ends) = source[source_tokens].T, target[target_tokens].T
        first = np.searchsorted(ends, begin, side="right")  # the first that ends behind the source's begin
        last = np.searchsorted(starts, end, side="left") - 1  # the last that starts before its end
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
    mine = np.array([place for place, token in enumerate(kept) if sequences[token] == 1], dtype=np.int64)
    starts, ends = align(offsets[kept], window.offsets, mine, context)
    if sequences[0] is None:  # where both say that there is no answer
        starts[0] = ends[0] = 0
    inputs = {name: [encoding[name][window.example][token] for token in kept] for name in names if name in encoding}
    return TeacherWindow(inputs, starts, ends)
