# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Trains a student with several mixtures of terms of the objective, with equal settings.

python ablate.py --student sentence-transformers/paraphrase-MiniLM-L3-v2 --teacher outputs/mpnet-squad --train_file FILE ...

Trains on a sample of the training split and evaluates on the validation split; dev is not used. A finished run is not
repeated; a killed run resumes. Options of `hf-dynbert train` may follow. Prints a table and writes results.json.
"""

import argparse
import json
import time
from pathlib import Path

from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from hf_dynbert import evaluate_squad, load_squad
from hf_dynbert.commands.parsing import parse_arguments
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.run import run_recipe
from hf_dynbert.tasks.question_answering.squad import split_by_article
from hf_dynbert.training.arguments import DistillationArguments
from hf_dynbert.utils.tables import markdown_table


RECIPE = Path(__file__).parents[1] / "quala-minilm-squad" / "distil.yaml"
LABELS, ANSWERS = {"prediction_weight": 0.0}, {"hard_label_weight": 0.0}
MIXTURES = {
    "labels": LABELS,
    "answers": ANSWERS,
    "labels, answers": {},
    "labels, answers at temperature 2": {"teacher_temperature": 2.0},
    "labels, answers, hidden states": {"hidden_weight": 1.0},
    "labels, answers, embeddings": {"embedding_weight": 1.0},
    "labels, answers, attention scores": {"attention_weight": 1.0},
    "labels, answers, attention probabilities": {"attention_weight": 1.0, "attention_target": "probabilities"},
    "labels, answers, relations": {"relation_weight": 1.0, "relation_heads": 12},
    "all of TinyBERT at once": {"hidden_weight": 1.0, "embedding_weight": 1.0, "attention_weight": 1.0},
}


def main() -> None:
    """Trains, evaluates and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--train_file", nargs="+", required=True)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--held_out", type=float, default=0.1)
    parser.add_argument("--limit", type=int, default=1000, help="number of validation questions to evaluate on")
    parser.add_argument("--mixtures", nargs="+", default=list(MIXTURES), help="some of the table's rows")
    parser.add_argument("--output", type=Path, default=Path("outputs/ablation"))
    args, options = parser.parse_known_args()
    _, held_out = split_by_article(load_squad(args.train_file), args.held_out)
    held_out = held_out.shuffle(seed=0).select(range(min(args.limit, len(held_out))))
    rows = []
    for name in args.mixtures:
        result = args.output / name.replace(", ", "+").replace(" ", "-") / "result.json"
        if not result.exists():
            start = time.perf_counter()
            train(args, MIXTURES[name], result.parent, options)
            minutes = (time.perf_counter() - start) / 60
            model = AutoModelForQuestionAnswering.from_pretrained(result.parent)
            tokenizer = AutoTokenizer.from_pretrained(result.parent)
            measured = evaluate_squad(model, tokenizer, held_out, latency_samples=0)
            result.write_text(json.dumps({"em": measured.exact_match, "f1": measured.f1, "minutes": minutes}))
        found = json.loads(result.read_text())
        rows.append([name, f"{found['em']:.1f}", f"{found['f1']:.1f}", f"{found['minutes']:.0f}"])
        print(*rows[-1], sep="  ", flush=True)
    (args.output / "results.json").write_text(json.dumps(rows, indent=1))
    print(f"\n{len(held_out)} held-out questions, {args.samples} to train on, one run each\n")
    print(markdown_table(["what is learned", "EM", "F1", "minutes"], rows))


def train(args, mixture: dict, folder: Path, options: list[str]) -> None:
    """One run by the recipe, on a sample."""
    argv = [str(RECIPE), "--model_name_or_path", args.student, "--teacher_model_name_or_path", args.teacher]
    argv += ["--train_file", *args.train_file, "--output_dir", str(folder), "--num_train_epochs", "1"]
    argv += ["--validation_fraction", str(args.held_out), "--max_train_samples", str(args.samples), *options]
    for option, value in mixture.items():
        argv += [f"--{option}", str(value)]
    run_recipe(*parse_arguments(argv, (ModelArguments, DataArguments, DistillationArguments)))


if __name__ == "__main__":
    main()
