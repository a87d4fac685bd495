# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Data augmentation of TinyBERT (arXiv 1909.10351, section 3.2 and algorithm 1): texts with some words replaced.

python recipes/tinybert-squad/augment.py --train_file train-v1.1.json --output outputs/augmented.jsonl
python recipes/tinybert-squad/augment.py --train_file texts.csv --text_columns text --output outputs/augmented.jsonl

Writes JSON lines that `hf-dynbert train --train_file` reads: each row, and after it its copies. A masked language model
replaces words of one token; its nearest embeddings replace words of several tokens, where the paper uses GloVe. Contexts of
questions do not change. A pass that was interrupted resumes. Split the data before: a random validation split of the written
file would hold copies of rows that are trained on.
"""

import argparse
import hashlib
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from datasets import Dataset
from datasets.fingerprint import Hasher
from transformers import AutoModelForMaskedLM, AutoTokenizer

from hf_dynbert import load_squad, load_texts
from hf_dynbert.training.cache import fingerprint, map_in_shards


WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
CACHED_WORDS = 100_000  # words whose neighbours are cached, a few strings each
ROWS = 16  # masked copies of a text in one call: their logits over the vocabulary take 1 GB at 512 tokens
BATCH = 64  # rows of the data set in one call; each becomes about twenty rows
STOP_WORDS = frozenset(  # words of grammar, and question words; they are never replaced
    """a about above after again against all am an and any are as at be because been before being below between both but by
    can could did do does doing down during each few for from further had has have having he her here hers herself him
    himself his how i if in into is it its itself just me more most my myself no nor not now of off on once only or other our
    ours ourselves out over own same she should so some such than that the their theirs them themselves then there these they
    this those through to too under until up very was we were what when where which while who whom whose why will with would
    you your yours yourself yourselves""".split()
)


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train_file", nargs="+", required=True, help="questions, or texts with --text_columns")
    parser.add_argument("--text_columns", nargs="+", help="columns of texts to classify; questions without this option")
    parser.add_argument("--model_name_or_path", default="google-bert/bert-base-uncased", help="a masked language model")
    parser.add_argument("--copies", type=int, default=20, help="new rows for each row (the paper's N)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="file of JSON lines to write")
    args = parser.parse_args()
    columns = args.text_columns or ["question"]
    data = load_texts(args.train_file, columns) if args.text_columns else load_squad(args.train_file)
    model = AutoModelForMaskedLM.from_pretrained(args.model_name_or_path, dtype="float32", trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(args.model_name_or_path, trust_remote_code=False)
    rows = augment(data, columns, WordSubstitution(model, tokenizer, copies=args.copies, seed=args.seed))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    part = args.output.with_suffix(".part")
    rows.to_json(part)
    part.replace(args.output)
    print(f"{len(rows)} rows in {args.output}")


class EmbeddingNeighbours:
    """The nearest words of a word, by the cosine of a model's input embeddings.

    Args:
        model (`PreTrainedModel`): its embeddings are read.
        tokenizer (`PreTrainedTokenizerFast`): its tokenizer. Neighbours are its tokens that are whole words.
    """

    def __init__(self, model, tokenizer):
        self.embeddings, self.tokenizer = model.get_input_embeddings().weight.detach(), tokenizer
        words = _whole_words(tokenizer)
        self.words, self.vectors = list(words.values()), F.normalize(self.embeddings[list(words)].float(), dim=-1)
        self.nearest = lru_cache(CACHED_WORDS)(self._nearest)

    def __call__(self, word: str, count: int) -> tuple[str, ...]:
        """Up to `count` other words, the nearest first. The vector of a word of several tokens is their mean."""
        return self.nearest(word.lower(), count)

    def _nearest(self, word: str, count: int) -> tuple[str, ...]:
        tokens = self.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        vector = F.normalize(self.embeddings[tokens].mean(dim=0).float(), dim=-1)
        best = (self.vectors @ vector).topk(min(count + 1, len(self.words))).indices.tolist()
        return tuple(self.words[index] for index in best if self.words[index] != word)[:count]


@dataclass
class WordSubstitution:
    """Writes copies of a text in which some words are replaced.

    A word that is one token of the model is replaced by one of the model's predictions for its masked place, a word of
    several tokens by one of its nearest neighbours. Stop words stay.

    Args:
        model (`PreTrainedModel`): with a head for masked language modelling.
        tokenizer (`PreTrainedTokenizerFast`): its tokenizer.
        neighbours (`Callable[[str, int], Sequence[str]]`, *optional*): takes a word and a count and returns the nearest
            words, for example by GloVe vectors as in the paper; by the model's own embeddings by default.
        copies (`int`, *optional*, defaults to 20): N, new texts for each text.
        candidates (`int`, *optional*, defaults to 15): K, candidates for each word.
        probability (`float`, *optional*, defaults to 0.4): p, probability with which each word is replaced.
        seed (`int`, *optional*, defaults to 0): the copies of a text depend on the seed and on the text alone.

    Raises:
        ValueError: a slow tokenizer, or one without a mask token; numbers out of range.
    """

    model: torch.nn.Module
    tokenizer: object
    neighbours: Callable[[str, int], Sequence[str]] | None = None
    copies: int = 20
    candidates: int = 15
    probability: float = 0.4
    seed: int = 0

    def __post_init__(self):
        if not getattr(self.tokenizer, "is_fast", False) or self.tokenizer.mask_token_id is None:
            raise ValueError(
                f"{type(self.tokenizer).__name__} is slow or has no mask token; load that of a masked language model with "
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
        self._nearest = self.neighbours or EmbeddingNeighbours(self.model, self.tokenizer)
        self._words = _whole_words(self.tokenizer)
        self._word_ids = torch.tensor(list(self._words))

    def __call__(self, text: str) -> list[str]:
        """Returns `copies` new texts; some may be equal."""
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
        """A hash of everything that a text's copies depend on."""
        settings = [Hasher.hash(self.neighbours), self.copies, self.candidates, self.probability, self.seed]
        return fingerprint(self.model, [self.tokenizer], settings)

    @torch.inference_mode()
    def _choices(self, text: str, spans: list[tuple[int, int]]) -> list[list[str]]:
        """The candidates for each word."""
        inputs = self.tokenizer(text, return_offsets_mapping=True, truncation=True, verbose=False)
        tokens = [
            [place for place, (low, high) in enumerate(inputs["offset_mapping"]) if low < end and high > start]
            for start, end in spans
        ]
        single = [index for index, places in enumerate(tokens) if len(places) == 1]
        choices = [
            list(self._nearest(text[slice(*span)], self.candidates)) if len(places) > 1 else []
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
    data: Dataset, columns: Sequence[str], substitution: WordSubstitution, cache_dir: str | Path | None = None
) -> Dataset:
    """Returns each row followed by its `copies` new rows, whose texts in some columns are replaced.

    Raises:
        ValueError: a column that the data does not have, or the context of answers, which must stay where they are.
    """
    absent = [column for column in columns if column not in data.column_names]
    if absent:
        raise ValueError(f"The data has no column {', '.join(absent)}; it has {', '.join(data.column_names)}.")
    if "context" in columns and "answers" in data.column_names:
        raise ValueError("Answers must stay where they are in their context. Augment the question: columns=['question'].")

    def rows(batch: dict) -> dict:
        new = {column: [] for column in columns}
        for column in columns:
            for text in batch[column]:
                new[column] += [text, *substitution(text)]
        times = substitution.copies + 1
        others = {name: [value for value in batch[name] for _ in range(times)] for name in batch if name not in columns}
        return others | new

    key = hashlib.sha256(json.dumps([columns, substitution.fingerprint]).encode()).hexdigest()[:32]
    return map_in_shards(rows, data, data.column_names, data.features, key, "Augmentation", cache_dir)


def _stops(word: str) -> bool:
    """Whether a word is a stop word, alone or contracted (`who's`, `don't`)."""
    stem, mark, _ = word.lower().replace("’", "'").partition("'")
    return stem in STOP_WORDS or bool(mark and stem.endswith("n") and word.lower().endswith("t"))


def _whole_words(tokenizer) -> dict[int, str]:
    """Tokens that are a whole word of letters, without stop words."""
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


if __name__ == "__main__":
    main()
