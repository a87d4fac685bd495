# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Measures how well models rank the sentences of a paragraph by whether they answer a question.

python rank.py --data outputs/pairs/held-out.jsonl --models DIR [DIR ...]

For each model: accuracy over all pairs, the share of questions whose right sentence comes first, the mean reciprocal rank,
and the time of the whole ranking at batch 32, padded to the longest of the batch.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

import hf_dynbert  # noqa: F401 (registers our models with transformers)
from hf_dynbert.utils.tables import markdown_table


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="held-out.jsonl of make_pairs.py")
    parser.add_argument("--models", nargs="+", required=True)
    args = parser.parse_args()
    for folder in args.models:
        AutoConfig.from_pretrained(folder)  # raises for a missing folder before any work
    rows = [json.loads(line) for line in args.data.read_text(encoding="utf-8").splitlines()]
    table = [[folder, *map("{:.3g}".format, measure(folder, rows))] for folder in args.models]
    questions = len({row["group"] for row in rows})
    print(
        f"{len(rows)} pairs of {questions} questions, {torch.get_num_threads()} threads, PyTorch {torch.__version__} fp32\n"
    )
    print(markdown_table(["model", "accuracy (%)", "first (%)", "MRR", "seconds"], table))


def measure(folder: str, rows: list[dict]) -> tuple[float, float, float, float]:
    """Accuracy and first in percent, mean reciprocal rank, seconds."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    start = time.perf_counter()
    chances = score(model, tokenizer, rows)
    seconds = time.perf_counter() - start
    names = [model.config.id2label[number] for number in range(model.config.num_labels)]
    right = [names[chance.argmax()] == row["label"] for chance, row in zip(chances, rows, strict=True)]
    groups = defaultdict(list)
    for chance, row in zip(chances, rows, strict=True):
        groups[row["group"]].append((chance[names.index("entailment")].item(), row["label"] == "entailment"))
    ranks = [rank(group) for group in groups.values()]
    first = sum(place == 1 for place in ranks) / len(ranks)
    return 100 * sum(right) / len(right), 100 * first, sum(1 / place for place in ranks) / len(ranks), seconds


def rank(group: list[tuple[float, bool]]) -> int:
    """Place of the right sentence, from 1; of equals the last."""
    [best] = [chance for chance, right in group if right]
    return sum(chance >= best for chance, _ in group)


@torch.inference_mode()
def score(model, tokenizer, rows: list[dict], size: int = 32) -> list[torch.Tensor]:
    """Probabilities of the classes for each row; rows of like length are read together."""
    found = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]["question"]) + len(rows[index]["sentence"]))
    for begin in range(0, len(order), size):
        chosen = order[begin : begin + size]
        texts = ([rows[index][column] for index in chosen] for column in ("question", "sentence"))
        inputs = tokenizer(*texts, truncation=True, max_length=128, padding=True, return_tensors="pt")
        for index, chance in zip(chosen, model(**inputs).logits.softmax(-1), strict=True):
            found[index] = chance
    return found


if __name__ == "__main__":
    main()
