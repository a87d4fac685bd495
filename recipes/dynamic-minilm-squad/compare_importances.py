# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""One LengthDrop run for each importance with equal settings, evaluated at placements of drops of equal cost.

python compare_importances.py --start outputs/minilm-squad-nine-tenths --train_file FILE.json [FILE.json ...]

Trains on a sample of the training split and evaluates on the validation split; dev is not used. A finished run is not
repeated; a killed run resumes. Prints a table and writes results.json.
"""

import argparse
import json
from pathlib import Path

from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from hf_dynbert import count_macs, evaluate_squad, fit_length_config, load_squad
from hf_dynbert.budgets.sampling import NOMINAL_LENGTH
from hf_dynbert.commands.parsing import parse_arguments
from hf_dynbert.configuration_dynamic_tinybert import IMPORTANCES
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.run import run_recipe
from hf_dynbert.tasks.question_answering.squad import split_by_article
from hf_dynbert.training.arguments import DistillationArguments


RECIPE = Path(__file__).with_name("length_drop.yaml")
PLACEMENTS = {"every layer": [0, 1, 2, 3, 4, 5], "layers 1, 3": [0, 2], "layers 2, 4": [1, 3], "layer 2": [1]}
RATIOS = (0.5, 1 / 3)


def main() -> None:
    """Trains, evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", required=True, help="plain fine-tune (finetune.yaml --validation_fraction 0.1)")
    parser.add_argument("--train_file", nargs="+", required=True)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--held_out", type=float, default=0.1)
    parser.add_argument("--limit", type=int, help="number of validation questions to evaluate on")
    parser.add_argument("--output", type=Path, default=Path("outputs/compare-importances"))
    parser.add_argument("--importances", nargs="+", default=list(IMPORTANCES))
    args, options = parser.parse_known_args()
    results_file = args.output / "results.json"
    results = json.loads(results_file.read_text()) if results_file.exists() else []
    data = load_squad(args.train_file)
    _, held_out = split_by_article(data, args.held_out)
    if args.limit:
        held_out = held_out.shuffle(seed=0).select(range(min(args.limit, len(held_out))))
    for importance in args.importances:
        folder = args.output / importance
        if not (folder / "config.json").exists():
            train(args, importance, folder, options)
        model = AutoModelForQuestionAnswering.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for placement, ratio, length_config in budgets(model.config):
            key = {"importance": importance, "placement": placement, "budget": round(ratio, 2)}
            if any(key.items() <= row.items() for row in results):
                continue
            measured = evaluate_squad(model, tokenizer, held_out, length_config=length_config, latency_samples=0)
            results.append(key | {"f1": measured.f1, "macs": measured.macs_ratio, "length_config": length_config})
            results_file.write_text(json.dumps(results, indent=1))
    show(results, len(held_out))


def train(args, importance: str, folder: Path, options: list[str]) -> None:
    """One LengthDrop run by the recipe, on a sample."""
    argv = [str(RECIPE), "--model_name_or_path", args.start, "--train_file", *args.train_file, "--output_dir", str(folder)]
    argv += [
        "--importance",
        importance,
        "--validation_fraction",
        str(args.held_out),
        "--max_train_samples",
        str(args.samples),
    ]
    argv += ["--num_train_epochs", "1", *options]
    run_recipe(*parse_arguments(argv, (ModelArguments, DataArguments, DistillationArguments)))


def budgets(config):
    """(placement, part of the operations, length configuration) of everything that is evaluated."""
    yield "none", 1.0, "full"
    for ratio in RATIOS:
        for placement, layers in PLACEMENTS.items():
            length_config = fit_length_config(config, ratio, layers)
            cost = count_macs(config, length_config, NOMINAL_LENGTH) / count_macs(config, None, NOMINAL_LENGTH)
            if cost < 1.05 * ratio:  # drops in these layers alone cannot always reach the cost
                yield placement, ratio, length_config


def show(results: list[dict], questions: int) -> None:
    """The table, in Markdown."""
    print(f"F1 on {questions} held-out questions (MACs on real tokens as a part of full length)\n")
    columns = list(dict.fromkeys((row["budget"], row["placement"]) for row in results))
    print("| importance | " + " | ".join(f"{budget}, {placement}" for budget, placement in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for importance in dict.fromkeys(row["importance"] for row in results):
        rows = {(row["budget"], row["placement"]): row for row in results if row["importance"] == importance}
        cells = [f"{rows[column]['f1']:.1f} ({rows[column]['macs']:.2f})" if column in rows else "" for column in columns]
        print(f"| {importance} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
