# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Negatives from BM25 for queries with their relevant passages.

python mine.py --queries msmarco.jsonl --pairs wikiqa.jsonl --text_columns question sentence --candidates pool.jsonl \\
    --output_dir outputs/reranker-data

Every passage of all files is in one collection, which BM25 searches (`pip install bm25s`). Writes

- `train.jsonl`: each training query with its relevant passages and `--negatives` of the `--depth` best other ones;
- `validation.jsonl`: `--validation_queries` of `--queries` that are in no other file, with the `--validation_depth` best
  passages in BM25's order, the relevant one last if it is not among them;
- `candidates.jsonl`: `--scored_queries` of the training queries with more passages, and the queries of `--candidates` with
  theirs, for a teacher to score. Their labels are not used: passages that nobody judged have the score 0.
"""

import argparse
import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import bm25s

from hf_dynbert.tasks.reranking.data import load_rankings
from hf_dynbert.utils.atomic_files import replace_files


def main() -> None:
    """Writes the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", nargs="+", required=True, help="JSON lines with query and positives")
    parser.add_argument("--pairs", nargs="*", default=[], help="tables of pairs with a label 0 or 1")
    parser.add_argument("--text_columns", nargs=2, default=("query", "passage"), help="columns of the pairs")
    parser.add_argument("--candidates", nargs="*", default=[], help="JSON lines with query and passages, judged or not")
    parser.add_argument("--max_queries", type=int, nargs="*", default=[], help="most queries of each file of --queries")
    parser.add_argument("--negatives", type=int, default=4, help="negatives of a query in train.jsonl")
    parser.add_argument("--scored_queries", type=int, default=3000, help="training queries in candidates.jsonl")
    parser.add_argument("--scored_negatives", type=int, default=7, help="negatives of a query there")
    parser.add_argument("--scored_candidates", type=int, default=100, help="passages of a query of --candidates there")
    parser.add_argument("--depth", type=int, default=30, help="BM25's best passages, from which negatives are drawn")
    parser.add_argument("--validation_queries", type=int, default=300)
    parser.add_argument("--validation_depth", type=int, default=50)
    parser.add_argument("--output_dir", type=Path, default=Path("outputs/reranker-data"))
    args = parser.parse_args()

    rows, validation = read_queries(args)
    candidates = [row for path in args.candidates for row in load_rankings([path])]
    search = Search(passage for row in [*rows, *validation, *candidates] for passage in row["passages"])
    drawn = random.Random(0)
    train, more = [], []
    for row in rows:
        negatives = hard_negatives(row, search, args, drawn)
        if negatives:
            train.append(example(row, negatives[: args.negatives]))
            more.append(ranking(row, positives(row), negatives[: args.scored_negatives]))
    more = shuffled(more)[: args.scored_queries]
    more += [ranking(row, [], shuffled(row["passages"])[: args.scored_candidates]) for row in candidates]
    held_out = [held_out_ranking(row, search.best(row["query"], args.validation_depth)) for row in validation]
    files = {"train.jsonl": train, "validation.jsonl": held_out, "candidates.jsonl": more}
    with replace_files(args.output_dir) as folder:
        for name, lines in files.items():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            (Path(folder) / name).write_text(text, encoding="utf-8")
            print(f"{len(lines)} queries in {args.output_dir / name}")


def read_queries(args: argparse.Namespace) -> tuple[list[dict], list[dict]]:
    """Queries with a relevant passage to train on, and those of the first file that are held out."""
    limits = [*args.max_queries, *[None] * len(args.queries)]
    files = [shuffled(load_rankings([path]))[:most] for path, most in zip(args.queries, limits, strict=False)]
    held_out = files[0][: args.validation_queries]
    rows = files[0][args.validation_queries :] + [row for file in files[1:] for row in file]
    rows += [row for path in args.pairs for row in load_rankings([path], args.text_columns)]
    known = {row["query"].lower() for row in held_out}
    return [row for row in rows if positives(row) and row["query"].lower() not in known], held_out


def shuffled(data: Iterable) -> list:
    """The items in random order, which is the same in each run."""
    items = list(data)
    random.Random(0).shuffle(items)
    return items


def positives(row: dict) -> list[str]:
    """The relevant passages of a query."""
    return [text for text, grade in zip(row["passages"], row["relevance"], strict=True) if grade]


def hard_negatives(row: dict, search: "Search", args: argparse.Namespace, drawn: random.Random) -> list[str]:
    """The query's own wrong passages, then others of BM25's best, in random order."""
    own = [text for text, grade in zip(row["passages"], row["relevance"], strict=True) if grade == 0]
    found = [text for text in search.best(row["query"], args.depth) if text not in row["passages"]]
    drawn.shuffle(own)
    drawn.shuffle(found)
    return own[: args.negatives] + found


def example(row: dict, negatives: Sequence[str]) -> dict:
    """A query to train on. Of several relevant passages the first is used."""
    return {"query": row["query"], "positives": positives(row)[:1], "negatives": list(negatives)}


def ranking(row: dict, relevant: Sequence[str], others: Sequence[str]) -> dict:
    """A query with the passages that a teacher scores."""
    passages = list(dict.fromkeys([*relevant[:1], *others]))
    return {"query": row["query"], "passages": passages, "scores": [int(text in relevant) for text in passages]}


def held_out_ranking(row: dict, found: list[str]) -> dict:
    """A query with BM25's best passages in its order."""
    relevant = positives(row)
    passages = found + [text for text in relevant[:1] if text not in found]
    return {"query": row["query"], "passages": passages, "scores": [int(text in relevant) for text in passages]}


class Search:
    """BM25 over a collection of passages.

    Args:
        passages (`Iterable[str]`): the collection; equal passages count once.
        stemmer (*optional*): of PyStemmer, which reduces words to their stems.
    """

    def __init__(self, passages: Iterable[str], stemmer=None):
        self.passages, self.stemmer = list(dict.fromkeys(passages)), stemmer
        self.index = bm25s.BM25()
        self.index.index(self._words(self.passages), show_progress=False)

    def best(self, query: str, most: int) -> list[str]:
        """The passages with the highest scores, the best first."""
        most = min(most, len(self.passages))
        found, _ = self.index.retrieve(self._words([query]), k=most, show_progress=False)
        return [self.passages[index] for index in found[0]]

    def scores(self, query: str) -> list[float]:
        """The score of each passage of the collection."""
        words = self._words([query], return_ids=False)[0]
        return self.index.get_scores(words).tolist()

    def _words(self, texts: list[str], **options):
        """The words of each text, without English stop words."""
        return bm25s.tokenize(texts, stopwords="en", stemmer=self.stemmer, show_progress=False, **options)


if __name__ == "__main__":
    main()
