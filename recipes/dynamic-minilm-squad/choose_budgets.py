# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Finds the placement of drops that loses least at a given cost, on the validation split.

python choose_budgets.py --model outputs/compare-importances/learned --train_file FILE.json [FILE.json ...]

Tries equal drops in every layer and random placements (seeded), or with --near NAME neighbours of a budget of the model, and
those of --length_configs. The model must not have been trained on the validation split (compare_importances.py makes such a
model). Prints the best configurations of each cost.
"""

import argparse
import math
import random

from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from hf_dynbert import count_macs, evaluate_squad, fit_length_config, load_squad
from hf_dynbert.budgets.sampling import NOMINAL_LENGTH, parse_length_config, sample_placement
from hf_dynbert.subnetwork import dropping_layers
from hf_dynbert.tasks.question_answering.squad import split_by_article
from hf_dynbert.utils.tables import markdown_table


def main() -> None:
    """Evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--train_file", nargs="+", required=True)
    parser.add_argument("--held_out", type=float, default=0.1)
    parser.add_argument("--limit", type=int, default=400, help="validation questions to evaluate on")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.5, 1 / 3], help="parts of the full operations")
    parser.add_argument("--draws", type=int, default=20, help="random placements for each cost")
    parser.add_argument("--near", help="a budget of the model: draw its neighbours, at its cost")
    parser.add_argument("--length_configs", nargs="+", default=[], help="more to try, such as 0.7,0.6,0.5,0.4,0.3,0.2")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the weights")
    parser.add_argument("--best", type=int, default=5, help="rows to print for each cost")
    args = parser.parse_args()
    _, held_out = split_by_article(load_squad(args.train_file), args.held_out)
    held_out = held_out.shuffle(seed=0).select(range(min(args.limit, len(held_out))))
    model = AutoModelForQuestionAnswering.from_pretrained(args.model, dtype=args.dtype)
    tokenizer = AutoTokenizer.from_pretrained(args.model)

    def measure(length_config):
        return evaluate_squad(model, tokenizer, held_out, length_config=length_config, latency_samples=0)

    full = measure("full").f1
    rows = [["", "full", f"{full:.2f}", "0.0 %", "1.000"]]
    near = model.config.resolve_budget(args.near).length_config if args.near else None
    groups = {}
    for ratio in args.ratios:
        drawn = neighbours(model.config, ratio, args.draws, near) if near else candidates(model.config, ratio, args.draws)
        groups[f"{ratio:.2f}"] = [length_config for length_config in drawn if is_at(model.config, ratio, length_config)]
    groups["listed"] = [parse_length_config(text) for text in args.length_configs]
    for cost, drawn in groups.items():
        found = [(measure(length_config), length_config) for length_config in drawn]
        for result, length_config in sorted(found, key=lambda pair: -pair[0].f1)[: None if cost == "listed" else args.best]:
            shares = ", ".join(f"{share:.3f}" for share in length_config)
            lost = f"{100 * (1 - result.f1 / full):.1f} %"
            rows.append([cost, shares, f"{result.f1:.2f}", lost, f"{result.macs_ratio:.3f}"])
    print(markdown_table(["cost", "length configuration", "F1", "F1 lost", "MACs"], rows))


def is_at(config, ratio: float, length_config: list[float]) -> bool:
    """Whether it has this cost, which few late drops cannot always reach."""
    return count_macs(config, length_config, NOMINAL_LENGTH) < 1.02 * ratio * count_macs(config, None, NOMINAL_LENGTH)


def candidates(config, ratio: float, draws: int):
    """Drops of this cost in every layer, and in random ones."""
    rng = random.Random(0)
    layers = dropping_layers(config)
    for placement in [layers, *(sample_placement(rng, layers) for _ in range(draws))]:
        yield fit_length_config(config, ratio, placement)


def neighbours(config, ratio: float, draws: int, budget: list[float]):
    """The budget at exactly this cost, and configurations that divide the drop a little differently among the layers."""
    rng, before = random.Random(0), [1.0, *budget]
    drops = {layer: math.log(before[layer] / budget[layer]) for layer in range(len(budget))}
    yield fit_length_config(config, ratio, drops)
    for _ in range(draws):
        yield fit_length_config(config, ratio, {layer: drop * rng.lognormvariate(0, 0.4) for layer, drop in drops.items()})


if __name__ == "__main__":
    main()
