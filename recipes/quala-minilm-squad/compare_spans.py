# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
r"""Divergence of int8's start and end distributions from fp32's, to compare calibrations more precisely than by F1.

python compare_spans.py --model outputs/quala-minilm-squad-fp32 --int8 outputs/quala-minilm-squad ... --held_out 0.1 \
    --data TRAIN.json ...

Prints Markdown: the mean Kullback-Leibler divergence (natural logarithm) over windows, starts and ends, at every budget.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from hf_dynbert import load_squad
from hf_dynbert.benchmarking.entries import load_form
from hf_dynbert.tasks.question_answering.features import encode_windows
from hf_dynbert.tasks.question_answering.squad import split_by_article
from hf_dynbert.utils.tables import markdown_table


# A dropped token has the lowest float as logit. If only int8 drops it, the divergence would be infinite, so logits are cut
# at a value far below those of kept tokens
LOWEST_LOGIT, LOWEST_LOG = -1e4, -30.0
BATCH = 16


def main() -> None:
    """Compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--int8", nargs="+", required=True, help="folders that hf-dynbert quantize made of the model")
    parser.add_argument("--data", nargs="+", required=True, help="training files")
    parser.add_argument("--held_out", type=float, required=True, help="as in training")
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--budgets", nargs="+", default=["full", "half", "third"])
    args = parser.parse_args()
    _, data = split_by_article(load_squad(args.data, split="train"), args.held_out)
    data = data.shuffle(seed=7).select(range(min(args.limit, len(data))))
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    windows = [window.inputs for window in encode_windows(tokenizer, data["question"], data["context"], 384, 128)]
    windows.sort(key=lambda inputs: len(inputs["input_ids"]))
    batches = [tokenizer.pad(windows[at : at + BATCH], return_tensors="pt") for at in range(0, len(windows), BATCH)]
    exact = AutoModelForQuestionAnswering.from_pretrained(args.model, dropped_logits="mask").eval()
    reference = {budget: spans(exact, batches, budget) for budget in args.budgets}
    rows = []
    for folder in map(Path, args.int8):
        model, _ = load_form(folder, torch.get_num_threads())
        rows.append([folder.name, *(f"{divergence(reference[b], spans(model, batches, b)):.4f}" for b in args.budgets)])
    print(f"{len(data)} questions; divergence of starts and ends from fp32\n")
    print(markdown_table(["", *args.budgets], rows))


def spans(model, batches: list, budget: str) -> list[torch.Tensor]:
    """Logarithms of the distributions over each window's real tokens: starts and ends."""
    found = []
    for batch in batches:
        real = batch["attention_mask"].bool()
        with torch.inference_mode():
            outputs = model(**batch, length_config=budget)
        for name in ("start_logits", "end_logits"):
            logits = torch.as_tensor(outputs[name]).float().clamp(min=LOWEST_LOGIT)
            found += [row[there].log_softmax(-1) for row, there in zip(logits, real, strict=True)]
    return found


def divergence(expected: list[torch.Tensor], found: list[torch.Tensor]) -> float:
    """The mean over windows."""
    each = [(p.exp() * (p - q.clamp(min=LOWEST_LOG))).sum() for p, q in zip(expected, found, strict=True)]
    return float(torch.stack(each).mean())


if __name__ == "__main__":
    main()
