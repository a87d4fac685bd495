# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Compares the exported and the eager model in fp32 on real questions, at every budget, alone and in padded batches.

python check_export.py --model outputs/dynamic-minilm-squad --data dev-v1.1.json [--limit 200] [--dropped_logits mask]

Takes a model for question answering, or a classifier of pairs of question and passage. Prints how many
examples agree within 1e-4 in every logit. For any other example, either a kept and a dropped token have equal importance
within the rounding of the two kernels, or the export is wrong.
"""

import argparse
import tempfile

import torch
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from hf_dynbert import (
    OVDynamicTinyBertForQuestionAnswering,
    OVDynamicTinyBertForSequenceClassification,
    load_squad,
)
from hf_dynbert.budgets.sampling import parse_length_config
from hf_dynbert.configuration_dynamic_tinybert import DROPPED_LOGITS
from hf_dynbert.drop_and_restore import first_segment, first_token
from hf_dynbert.tasks.question_answering.features import MAX_LENGTH, STRIDE, encode_windows
from hf_dynbert.utils.tables import markdown_table


TOLERANCE = 1e-4  # of a logit; sums of 384 and 1536 products in another order differ by about 1e-6 of their size
TIE = 1e-4  # of a token's score; the same


def main() -> None:
    """Compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument(
        "--budgets", nargs="+", default=["full", "half", "third"], help="names, or lists such as 0.6,0.5,..."
    )
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--dropped_logits", choices=DROPPED_LOGITS, help="of the model, in place of its own")
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    classes = AutoModelForQuestionAnswering, OVDynamicTinyBertForQuestionAnswering
    if AutoConfig.from_pretrained(args.model).architectures[0].endswith("ForSequenceClassification"):
        classes = AutoModelForSequenceClassification, OVDynamicTinyBertForSequenceClassification
    eager = classes[0].from_pretrained(args.model).eval()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # or OpenVINO computes in bf16 where the CPU has it
    with tempfile.TemporaryDirectory() as folder:
        if args.dropped_logits:
            eager.config.dropped_logits = args.dropped_logits
            eager.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        exported = classes[1].from_pretrained(folder if args.dropped_logits else args.model, export=True, ov_config=exact)
    data = load_squad(args.data, split="validation").shuffle(seed=0).select(range(args.limit))
    windows = [window.inputs for window in encode_windows(tokenizer, data["question"], data["context"], MAX_LENGTH, STRIDE)]
    rows = []
    for budget in args.budgets:
        for size in args.batch_sizes:
            batches = [windows[i : i + size] for i in range(0, len(windows), size)]
            found = [item for batch in batches for item in compare(eager, exported, tokenizer, batch, budget)]
            close = sum(difference <= TOLERANCE for difference, _ in found)
            ties = sum(difference > TOLERANCE and gap <= TIE for difference, gap in found)
            largest = max((difference for difference, _ in found if difference <= TOLERANCE), default=0.0)
            share = f"{100 * close / len(found):.1f} %"
            unexplained = len(found) - close - ties
            rows.append([budget, *map(str, (size, len(found), share, f"{largest:.1e}", ties, unexplained))])
    columns = ["budget", "batch", "windows", "within 1e-4", "largest of these", "others: ties", "others: unexplained"]
    print(markdown_table(columns, rows))


@torch.no_grad()
def compare(eager, exported, tokenizer, batch: list, budget: str) -> list[tuple[float, float]]:
    """For each window of a batch, padded to its longest: the largest difference of a logit, and its nearest tie."""
    inputs = tokenizer.pad(batch, padding_side="right", return_tensors="pt")
    expected = eager(**inputs, length_config=parse_length_config(budget), output_token_scores=True)
    got = exported(**inputs, length_config=parse_length_config(budget))
    real = inputs["attention_mask"].bool()
    if "logits" in expected:
        differences = (got.logits - expected.logits).abs()
    else:
        differences = torch.maximum(
            (got.start_logits - expected.start_logits).abs(), (got.end_logits - expected.end_logits).abs()
        ).masked_fill(~real, 0)
    gaps = nearest_ties(eager.config, inputs, expected)
    return list(zip(differences.amax(dim=1).tolist(), gaps.tolist(), strict=True))


def nearest_ties(config, inputs, output) -> torch.Tensor:
    """`(B,)`: over the layers, the least difference of score between a kept and a dropped token."""
    real = inputs["attention_mask"].bool()
    segment = first_segment(real, inputs.get("token_type_ids"), inputs["input_ids"], config.sep_token_id)
    free = real & ~segment & ~first_token(real)  # tokens whose place is decided by their score
    gaps = torch.full((len(real),), torch.inf)
    if output.kept_tokens is None:
        return gaps
    kept = [scores > -torch.inf for scores in output.token_scores[1:]] + [output.kept_tokens]
    for scores, stays in zip(output.token_scores, kept, strict=True):
        there = (scores > -torch.inf) & free
        lowest = scores.masked_fill(~(there & stays), torch.inf).amin(dim=1)
        highest = scores.masked_fill(~(there & ~stays), -torch.inf).amax(dim=1)
        gaps = torch.minimum(gaps, lowest - highest)
    return gaps


if __name__ == "__main__":
    main()
