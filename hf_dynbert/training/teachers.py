# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a teacher answers, told on the student's tokens: both read the same characters, whatever their tokenizers."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from tqdm.auto import tqdm

from ..question_answering.features import MAX_LENGTH, MAX_QUESTION_LENGTH, STRIDE, Window, encode_windows, shorten


TARGETS = ("teacher_start", "teacher_end")
PLACES = "teacher_places"
INPUTS = "teacher_input_ids"
SHARD = 256  # questions that are kept at once: what a killed pass loses, a minute or two of a large teacher on two cores


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
        temperature (`float`, *optional*, defaults to 1): divides the teacher's logits (arXiv 1503.02531, section 2).
        batch_size (`int`, *optional*): windows that the teacher reads at once; changes nothing but time.
        cache_dir (`str` or `Path`, *optional*): where results are kept, by teacher, data and settings; a pass that was
            stopped goes on there. Beside the other caches of `datasets` when not given.

    Returns:
        `datasets.Dataset`: columns `teacher_start` and `teacher_end`, a row for each row of the features.

    Raises:
        ValueError: a window with more tokens of the teacher than it can read; a slow tokenizer.
    """
    settings = [max_length, stride, max_question_length, temperature]
    key = _fingerprint(teacher, [teacher_tokenizer, tokenizer], settings)
    folder = Path(cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "hf_dynbert-teachers") / key
    folder.mkdir(parents=True, exist_ok=True)
    teacher = teacher.eval()

    def predict(batch: dict) -> dict:
        windows = encode_windows(tokenizer, batch["question"], batch["context"], max_length, stride, max_question_length)
        questions = shorten(tokenizer, batch["question"], max_question_length)
        views = teacher_windows(windows, questions, batch["context"], teacher_tokenizer)
        _check_lengths(views, teacher_tokenizer)
        return dict(zip(TARGETS, _answers(teacher, teacher_tokenizer, windows, views, temperature, batch_size), strict=True))

    shards = []
    for first in tqdm(range(0, len(data), SHARD), desc="Teacher", unit="shard"):
        shard = data.select(range(first, min(first + SHARD, len(data))))
        name = hashlib.sha256(json.dumps([shard["question"][:], shard["context"][:]]).encode()).hexdigest()[:16]
        shards.append(
            shard.map(
                predict,
                batched=True,
                batch_size=SHARD,
                remove_columns=shard.column_names,
                cache_file_name=str(folder / f"{name}.arrow"),  # written beside and renamed by datasets
                new_fingerprint=f"{key}-{name}",
                features=datasets.Features({target: datasets.Sequence(datasets.Value("float32")) for target in TARGETS}),
            )
        )
    return concatenate_datasets(shards)


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

    def inputs(batch: dict) -> dict:
        windows = encode_windows(tokenizer, batch["question"], batch["context"], max_length, stride, max_question_length)
        questions = shorten(tokenizer, batch["question"], max_question_length)
        views = teacher_windows(windows, questions, batch["context"], teacher_tokenizer)
        _check_lengths(views, teacher_tokenizer)
        pairs = zip(windows, views, strict=True)
        places = [
            same_tokens(window.inputs["input_ids"], view.inputs["input_ids"], tokenizer, teacher_tokenizer)
            for window, view in pairs
        ]
        return {INPUTS: [view.inputs["input_ids"] for view in views], PLACES: places}

    return data.map(inputs, batched=True, remove_columns=data.column_names, desc="Teacher's tokens")


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
        tokenizer (`PreTrainedTokenizerFast`): of the teacher.

    Returns:
        `list[TeacherWindow]`: one for each window.

    Raises:
        ValueError: a slow tokenizer.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"The teacher's {type(tokenizer).__name__} is a slow tokenizer and cannot tell which characters a token stands "
            "for; load it with AutoTokenizer.from_pretrained(..., use_fast=True)."
        )
    encoding = tokenizer(questions, contexts, return_offsets_mapping=True, truncation=False, verbose=False)
    return [_view(window, encoding, tokenizer.model_input_names) for window in windows]


def align(
    source: np.ndarray, target: np.ndarray, source_tokens: np.ndarray, target_tokens: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For tokens of one tokenizer, those of another with their first and with their last character.

    Args:
        source, target (`np.ndarray` of shape `(S, 2)` and `(T, 2)`): characters of each token, from and up to, in order.
        source_tokens, target_tokens (`np.ndarray`): numbers of the tokens that stand for characters of the text.

    Returns:
        `np.ndarray` of shape `(S,)`, twice: the first and the last token that shares characters, or -1.
    """
    firsts, lasts = np.full(len(source), -1), np.full(len(source), -1)
    if len(source_tokens) and len(target_tokens):
        (begin, end), (starts, ends) = source[source_tokens].T, target[target_tokens].T
        first = np.searchsorted(ends, begin, side="right")  # the first that ends behind the source's begin
        last = np.searchsorted(starts, end, side="left") - 1  # the last that starts before its end
        shared = (first <= last) & (end > begin)
        firsts[source_tokens[shared]] = target_tokens[first[shared]]
        lasts[source_tokens[shared]] = target_tokens[last[shared]]
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


def _answers(teacher, tokenizer, windows, views, temperature: float, batch_size: int) -> tuple[list, list]:
    """Start and end distributions, a list of each window's tokens each; windows of like length are read together."""
    found = [None] * len(windows)
    order = sorted(range(len(views)), key=lambda index: len(views[index].inputs["input_ids"]))
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        batch = tokenizer.pad([views[index].inputs for index in chosen], return_tensors="pt").to(teacher.device)
        with torch.inference_mode():
            output = teacher(**batch)
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


def _check_lengths(views: list[TeacherWindow], tokenizer) -> None:
    longest = max(len(view.inputs["input_ids"]) for view in views)
    if longest > tokenizer.model_max_length:
        raise ValueError(
            f"A window has {longest} tokens of the teacher, which reads {tokenizer.model_max_length}; make max_length "
            "smaller."
        )


def _fingerprint(teacher, tokenizers: list, settings: list) -> str:
    """Of all that a prediction depends on, but the question."""
    digest = hashlib.sha256(
        json.dumps([type(teacher).__name__, teacher.config.to_diff_dict(), settings], default=str).encode()
    )
    for tokenizer in tokenizers:
        parts = json.loads(tokenizer.backend_tokenizer.to_str())
        settled = {name: part for name, part in parts.items() if name not in ("truncation", "padding")}  # set by each call
        digest.update(json.dumps(settled).encode())
    for name, tensor in sorted(teacher.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
