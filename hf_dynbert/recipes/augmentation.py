# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""TinyBERT's data augmentation (arXiv 1909.10351, section 3.2 and algorithm 1): the same sentence in other words."""

import hashlib
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from datasets import Dataset, IterableDataset

from ..tasks.text_classification.data import column_names
from ..training.teachers.cache import fingerprint, map_in_shards


WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
KEPT_WORDS = 100_000  # of a file of word vectors, which has the frequent ones first: as many as 400 MB hold 300 floats of
REMEMBERED = 100_000  # neighbours of words, a few strings each
ROWS = 16  # masked copies of a text at once: each has a logit for every word at every place: 1 GB for 512 tokens
BATCH = 64  # rows at a time: each becomes twenty or so
STOP_WORDS = frozenset(  # what carries grammar, not content; of a question what it asks for
    """a about above after again against all am an and any are as at be because been before being below between both but by
    can could did do does doing down during each few for from further had has have having he her here hers herself him
    himself his how i if in into is it its itself just me more most my myself no nor not now of off on once only or other our
    ours ourselves out over own same she should so some such than that the their theirs them themselves then there these they
    this those through to too under until up very was we were what when where which while who whom whose why will with would
    you your yours yourself yourselves""".split()
)


class WordVectors:
    """Words and what is near them, by the cosine of their vectors.

    Args:
        words (`list[str]`): in lower case.
        vectors (`torch.Tensor` of shape `(W, D)`): one a word.
        vector_of (`Callable[[str], torch.Tensor]`, *optional*): a vector for any other word; without, such a word has no
            neighbours.
    """

    def __init__(self, words: Sequence[str], vectors: torch.Tensor, vector_of=None):
        self.words, self.vectors, self.vector_of = list(words), F.normalize(vectors.float(), dim=-1), vector_of
        self.places = {word: place for place, word in enumerate(self.words)}
        self.nearest = lru_cache(REMEMBERED)(self._nearest)

    @classmethod
    def from_file(cls, path: str | Path, most: int = KEPT_WORDS) -> "WordVectors":
        """Reads vectors as GloVe publishes them: a word a line with its numbers behind it.

        Args:
            path (`str` or `Path`): for example `glove.6B.300d.txt`.
            most (`int`, *optional*): keep the first so many words made of letters.

        Raises:
            ValueError: a line that is not a word with as many numbers as the first.
        """
        vectors, width = {}, None
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                word, *numbers = line.rstrip().rsplit(" ", width if width else -1)
                width = width or len(numbers)
                if word.isalpha() and word.lower() not in vectors:  # frequent spellings come first
                    vectors[word.lower()] = _vector(numbers, width, f"{path}, line {number}")
                if len(vectors) == most:
                    break
        words, vectors = list(vectors), list(vectors.values())
        return cls(words, torch.stack(vectors))

    @classmethod
    def from_model(cls, model, tokenizer) -> "WordVectors":
        """A model's own embeddings: whole words, and for words of several pieces the mean of these."""
        embeddings, words = model.get_input_embeddings().weight.detach(), _whole_words(tokenizer)
        ids = list(words)

        def mean_of_pieces(word: str) -> torch.Tensor:
            return embeddings[tokenizer(f" {word}", add_special_tokens=False)["input_ids"]].mean(dim=0)

        return cls([words[token] for token in ids], embeddings[ids], mean_of_pieces)

    def _nearest(self, word: str, count: int) -> tuple[str, ...]:
        """Up to `count` other words, the nearest first."""
        word = word.lower()
        if word in self.places:
            vector = self.vectors[self.places[word]]
        elif self.vector_of:
            vector = F.normalize(self.vector_of(word).float(), dim=-1)
        else:
            return ()
        best = (self.vectors @ vector).topk(min(count + 1, len(self.words))).indices.tolist()
        return tuple(self.words[place] for place in best if self.words[place] != word)[:count]


@dataclass
class WordSubstitution:
    """Writes a text again with some words replaced.

    A word that is one token of the model is masked, and the model says what else may stand there; a word of several pieces
    gets its nearest neighbours. Stop words stay.

    Args:
        model (`PreTrainedModel`): with a head for masked language modelling.
        tokenizer (`PreTrainedTokenizerFast`): its tokenizer.
        vectors (`WordVectors`, *optional*): where neighbours are looked for, for example GloVe's vectors as in the paper;
            the model's own embeddings when not given.
        copies (`int`, *optional*, defaults to 20): N, new texts for each.
        candidates (`int`, *optional*, defaults to 15): K, words that may stand in a place.
        probability (`float`, *optional*, defaults to 0.4): p, with which each word is replaced.
        seed (`int`, *optional*, defaults to 0): what is drawn depends on it and on the text alone.

    Raises:
        ValueError: a slow tokenizer, or one without a mask; numbers out of range.
    """

    model: torch.nn.Module
    tokenizer: object
    vectors: WordVectors | None = None
    copies: int = 20
    candidates: int = 15
    probability: float = 0.4
    seed: int = 0

    def __post_init__(self):
        if not getattr(self.tokenizer, "is_fast", False) or self.tokenizer.mask_token_id is None:
            raise ValueError(
                f"{type(self.tokenizer).__name__} is slow or has no mask; load a masked language model's with "
                "AutoTokenizer.from_pretrained(..., use_fast=True)."
            )
        for name, value, low, high in (
            ("copies", self.copies, 1, float("inf")),
            ("candidates", self.candidates, 1, float("inf")),
            ("probability", self.probability, 0, 1),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; valid are numbers from {low} to {high}.")
        self.model = self.model.eval()
        self.vectors = self.vectors or WordVectors.from_model(self.model, self.tokenizer)
        self._words = _whole_words(self.tokenizer)
        self._word_ids = torch.tensor(list(self._words))

    def __call__(self, text: str) -> list[str]:
        """The `copies` new texts; some may be equal."""
        spans = [match.span() for match in WORD.finditer(text) if not _stops(match[0])]
        choices = self._choices(text, spans)
        rng = random.Random(f"{self.seed}-{text}")
        copies = []
        for _ in range(self.copies):
            written, behind = [], 0
            for (start, end), words in zip(spans, choices, strict=True):
                replaced = rng.random() < self.probability and words
                word = _cased_as(rng.choice(words), text[start:end]) if replaced else text[start:end]
                written += [text[behind:start], word]
                behind = end
            copies.append("".join(written) + text[behind:])
        return copies

    @property
    def fingerprint(self) -> str:
        """Names all that a text's copies depend on."""
        vectors = hashlib.sha256(self.vectors.vectors.cpu().numpy().tobytes()).hexdigest()
        settings = [self.vectors.words, vectors, self.copies, self.candidates, self.probability, self.seed]
        return fingerprint(self.model, [self.tokenizer], settings)

    @torch.inference_mode()
    def _choices(self, text: str, spans: list[tuple[int, int]]) -> list[list[str]]:
        """What may stand in the place of each word."""
        inputs = self.tokenizer(text, return_offsets_mapping=True, truncation=True, verbose=False)
        tokens = [
            [place for place, (low, high) in enumerate(inputs["offset_mapping"]) if low < end and high > start]
            for start, end in spans
        ]
        single = [index for index, places in enumerate(tokens) if len(places) == 1]
        choices = [
            list(self.vectors.nearest(text[slice(*span)], self.candidates)) if len(places) > 1 else []
            for span, places in zip(spans, tokens, strict=True)
        ]
        if single:
            ids = torch.tensor([inputs["input_ids"]] * len(single))
            rows, places = torch.arange(len(single)), torch.tensor([tokens[index][0] for index in single])
            ids[rows, places] = self.tokenizer.mask_token_id
            logits = [
                self.model(input_ids=part.to(self.model.device)).logits[range(len(part)), where].cpu()
                for part, where in zip(ids.split(ROWS), places.split(ROWS), strict=True)
            ]
            logits = torch.cat(logits)
            best = logits[:, self._word_ids].topk(min(self.candidates, len(self._word_ids))).indices
            for index, row in zip(single, self._word_ids[best].tolist(), strict=True):
                choices[index] = [self._words[token] for token in row]
        return choices


def augment(
    data: Dataset | IterableDataset,
    columns: str | Sequence[str],
    substitution: WordSubstitution,
    cache_dir: str | Path | None = None,
) -> Dataset | IterableDataset:
    """Puts new rows behind each row: one column's text in other words, all else as it is.

    Args:
        data (`datasets.Dataset` or `datasets.IterableDataset`): rows; a stream stays one.
        columns (`str` or `list[str]`): the text's column, for example `question`; of several, all are written anew in each
            new row. Not the context of questions, whose answers must stand where they stood.
        substitution (`WordSubstitution`): writes the texts.
        cache_dir (`str` or `Path`, *optional*): where a data set's new rows are kept; a pass that was stopped goes on there.
            Beside the other caches of `datasets` when not given. A stream keeps none.

    Returns:
        `datasets.Dataset` or `datasets.IterableDataset`: each row and its `copies` new ones.

    Raises:
        ValueError: no such column, or the context of answers.
    """
    columns = [columns] if isinstance(columns, str) else list(columns)
    names = column_names(data)
    absent = [column for column in columns if column not in names]
    if absent:
        raise ValueError(f"The data has no column {', '.join(absent)}; it has {', '.join(names)}.")
    if "context" in columns and "answers" in names:
        raise ValueError("Answers must stand in their context where they stood: augment the question, columns='question'.")

    def rows(batch: dict) -> dict:
        new = {column: [] for column in columns}
        for column in columns:
            for text in batch[column]:
                new[column] += [text, *substitution(text)]
        times = substitution.copies + 1
        others = {name: [value for value in batch[name] for _ in range(times)] for name in batch if name not in columns}
        return others | new

    if isinstance(data, IterableDataset):
        return data.map(rows, batched=True, batch_size=BATCH)
    key = hashlib.sha256(json.dumps([columns, substitution.fingerprint]).encode()).hexdigest()[:32]
    return map_in_shards(rows, data, names, data.features, key, "Augmentation", cache_dir)


def _vector(numbers: list[str], width: int, place: str) -> torch.Tensor:
    try:
        vector = torch.tensor([float(number) for number in numbers])
    except ValueError:
        vector = torch.empty(0)
    if not len(vector) or len(vector) != width:
        raise ValueError(f"{place}: not a word with its vector, as GloVe's files have.")
    return vector


def _stops(word: str) -> bool:
    """Whether a word carries grammar: a stop word, or one with what is written together with it (`who's`, `don't`)."""
    stem, mark, _ = word.lower().replace("’", "'").partition("'")
    return stem in STOP_WORDS or bool(mark and stem.endswith("n") and word.lower().endswith("t"))


def _whole_words(tokenizer) -> dict[int, str]:
    """Tokens that are a word of letters by themselves, stop words left out."""
    tokens = [token for token in range(len(tokenizer)) if token not in set(tokenizer.all_special_ids)]
    words = [tokenizer.convert_tokens_to_string([piece]).strip() for piece in tokenizer.convert_ids_to_tokens(tokens)]
    likely = [
        (token, word) for token, word in zip(tokens, words, strict=True) if word.isalpha() and word.lower() not in STOP_WORDS
    ]
    pieces = tokenizer([f" {word}" for _, word in likely], add_special_tokens=False)["input_ids"]
    return {token: word for (token, word), ids in zip(likely, pieces, strict=True) if ids == [token]}


def _cased_as(word: str, other: str) -> str:
    if other.isupper() and len(other) > 1:
        return word.upper()
    return word.capitalize() if other[:1].isupper() else word
