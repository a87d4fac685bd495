# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Compares F1 and size of a checkpoint and its int8 folders from `hf-dynbert quantize`, at every budget.

python compare_int8.py --model outputs/dynamic-minilm-squad --int8 outputs/quala-minilm-squad ... --data dev-v1.1.json

Prints Markdown. All models get the same questions; --limit is their number, spread over the data.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from hf_dynbert import evaluate_squad, load_squad
from hf_dynbert.benchmarking.entries import form_of, load_form
from hf_dynbert.utils.tables import markdown_table


def main() -> None:
    """Evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--int8", nargs="+", required=True, help="folders that hf-dynbert quantize made of the model")
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--budgets", nargs="+", default=["full", "half", "third"])
    args = parser.parse_args()
    data = load_squad(args.data, split="validation")
    data = data.shuffle(seed=0).select(range(min(args.limit, len(data))))
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    exact = AutoModelForQuestionAnswering.from_pretrained(args.model).eval()

    def scores(model) -> list[float]:
        return [evaluate_squad(model, tokenizer, data, length_config=name, latency_samples=0).f1 for name in args.budgets]

    reference, size = scores(exact), weights_file(Path(args.model))
    rows = [["PyTorch fp32", f"{size / 1e6:.1f}", "", *(f"{score:.2f}" for score in reference)]]
    for folder in map(Path, args.int8):
        model, _ = load_form(folder, torch.get_num_threads())
        found = [f"{score:.2f} ({score - before:+.2f})" for score, before in zip(scores(model), reference, strict=True)]
        rows.append([form_of(folder), f"{weights_file(folder) / 1e6:.1f}", f"{weights_file(folder) / size:.3f}", *found])
    print(f"{len(data)} questions; F1, and its difference to fp32\n")
    print(markdown_table(["", "MB", "size", *args.budgets], rows))


def weights_file(folder: Path) -> int:
    """Bytes of all that holds the model: weights, and OpenVINO's graph."""
    return sum(path.stat().st_size for path in [*folder.glob("*.safetensors"), *folder.glob("openvino_model.*")])


if __name__ == "__main__":
    main()
