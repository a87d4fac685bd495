# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Latency of token dropping: our model and upstream BERT in turns, for every importance.

python measure_cost.py [--lengths 384 164] [--repeats 40] [--threads 2]

Random weights of MiniLM-L6's shape (latency does not need trained ones), PyTorch fp32, batch 1 and 8 without padding. All
variants take turns within each repeat, so other load affects all alike; the table has medians as ratios to upstream.
"""

import argparse
import statistics
import time

import torch
from transformers import BertConfig, BertForQuestionAnswering

from hf_dynbert import DynamicTinyBertForQuestionAnswering, fit_length_config
from hf_dynbert.configuration_dynamic_tinybert import IMPORTANCES
from hf_dynbert.utils.tables import markdown_table


SHAPE = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[384, 164])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    upstream = BertForQuestionAnswering(BertConfig(**SHAPE)).eval()
    variants = {"upstream BERT": (upstream, {})}
    for importance in IMPORTANCES:
        model = DynamicTinyBertForQuestionAnswering.from_backbone(
            upstream, importance=importance, protect_first_segment=True
        )
        every, two = (fit_length_config(model.config, 0.5, layers) for layers in (range(6), (1, 3)))
        variants[f"{importance}, full"] = (model, {"length_config": "full"})
        variants[f"{importance}, half the MACs, six drops"] = (model, {"length_config": every})
        variants[f"{importance}, half the MACs, two drops"] = (model, {"length_config": two})
    cases = [(length, batch) for length in args.lengths for batch in args.batches]
    columns = {case: measure(variants, *case, args.repeats) for case in cases}
    rows = []
    for name in variants:
        cells = [f"{medians[name] / medians['upstream BERT']:.2f}" for medians in columns.values()]
        rows.append([name, *cells])
    rows.append(["upstream BERT, ms", *(f"{medians['upstream BERT']:.1f}" for medians in columns.values())])
    print(f"PyTorch {torch.__version__} fp32, {args.threads} threads, medians of {args.repeats} turns\n")
    print(markdown_table(["ratio to upstream", *(f"{length} tokens, batch {batch}" for length, batch in cases)], rows))


def measure(variants: dict, length: int, batch: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of every variant."""
    ids = torch.randint(1000, 20000, (batch, length))
    types = (torch.arange(length) >= 15).long().expand(batch, -1)  # a question of SQuAD's mean length
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}
    times: dict[str, list[float]] = {name: [] for name in variants}
    with torch.inference_mode():
        for turn in range(-3, repeats):  # three turns to warm up
            for name, (model, call) in variants.items():
                begin = time.perf_counter()
                model(**inputs, **call)
                if turn >= 0:
                    times[name].append(1000 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
