# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Questions and sentences as pairs: does the sentence answer the question?

python make_pairs.py --train_file FILE.json [FILE.json ...] --output outputs/pairs

Pairs are made from SQuAD-shaped questions as GLUE's QNLI makes them (arXiv 1804.07461, section 3.3): the sentence with the
answer is right, the other sentence of the paragraph that shares most words with the question is wrong. Writes train.jsonl
with two pairs for each question, and held-out.jsonl of the validation split with all sentences of each question's paragraph,
to be ranked. Labels have the names of QNLI.
"""

import argparse
import json
import re
from pathlib import Path

from datasets import Dataset

from hf_dynbert import load_squad
from hf_dynbert.tasks.question_answering.squad import split_by_article


NAMES = ("entailment", "not_entailment")


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train_file", nargs="+", required=True)
    parser.add_argument("--held_out", type=float, default=0.1, help="part of the questions, by article")
    parser.add_argument("--samples", type=int, help="questions to train on; all when not given")
    parser.add_argument("--limit", type=int, default=700, help="held-out questions")
    parser.add_argument("--output", type=Path, default=Path("outputs/pairs"))
    args = parser.parse_args()
    train, held_out = split_by_article(load_squad(args.train_file), args.held_out)
    train, held_out = (take(data, most) for data, most in ((train, args.samples), (held_out, args.limit)))
    args.output.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", pairs(train)), ("held-out", candidates(held_out))):
        path = args.output / f"{name}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row | {"label": NAMES[row["label"]]}, ensure_ascii=False) + "\n" for row in rows)
        print(f"{len(rows)} pairs in {path}")


def take(data: Dataset, most: int | None) -> Dataset:
    """Returns `most` questions, drawn at random."""
    return data.shuffle(seed=0).select(range(min(most or len(data), len(data))))


def pairs(data: Dataset) -> list[dict]:
    """A right and a wrong sentence for each question whose paragraph has both."""
    rows = []
    for row in data:
        right, others = sentences(row)
        words = set(re.findall(r"\w+", row["question"].lower()))
        others.sort(key=lambda text: -len(words & set(re.findall(r"\w+", text.lower()))))
        if right and others:
            rows += [
                {"question": row["question"], "sentence": text, "label": label}
                for text, label in ((right, 0), (others[0], 1))
            ]
    return rows


def candidates(data: Dataset) -> list[dict]:
    """All sentences of the paragraph for each question that one of them answers, with its `group`."""
    rows = []
    for group, row in enumerate(data):
        right, others = sentences(row)
        if right and others:
            rows += [
                {"question": row["question"], "sentence": text, "label": int(text != right), "group": group}
                for text in (right, *others)
            ]
    return rows


def sentences(row: dict) -> tuple[str | None, list[str]]:
    """The sentence in which the answer begins, and the paragraph's others."""
    start = row["answers"]["answer_start"][0]
    spans = [match.span() for match in re.finditer(r"\S.*?(?:[.!?](?=\s)|$)", row["context"], re.DOTALL)]
    right = next((row["context"][low:high] for low, high in spans if low <= start < high), None)
    return right, [text for text in (row["context"][low:high] for low, high in spans) if text != right]


if __name__ == "__main__":
    main()
