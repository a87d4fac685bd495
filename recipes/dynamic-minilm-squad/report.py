# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Table and curve of a trained model at its budgets.

python report.py --model outputs/dynamic-minilm-squad --data dev-v1.1.json [--budgets full half third] [--plot curve.png]

Prints Markdown, writes the curve as a PNG and the numbers as JSON beside it. With --held_out 0.1 the data are training
files, of which only the tenth that a run with the same option never saw is used: where choices are made.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from hf_dynbert import load_squad
from hf_dynbert.budgets.sampling import parse_length_config
from hf_dynbert.tasks.question_answering.report import COLUMNS, curve_rows, measure_curve, plot_curve
from hf_dynbert.tasks.question_answering.squad import split_by_article
from hf_dynbert.utils.tables import markdown_table


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--held_out", type=float, help="of the data, only this part, by article")
    parser.add_argument("--limit", type=int, help="only so many questions, spread over the data")
    parser.add_argument("--budgets", nargs="+", help="names, or lists such as 1.0,0.5,0.5,0.3,0.3,0.3; all names by default")
    parser.add_argument("--plot", type=Path, default=Path("outputs/curve.png"))
    parser.add_argument("--title", default="F1 at every budget of one model")
    args = parser.parse_args()
    model, tokenizer = AutoModelForQuestionAnswering.from_pretrained(args.model), AutoTokenizer.from_pretrained(args.model)
    data = load_squad(args.data, split="validation")
    if args.held_out:
        _, data = split_by_article(data, args.held_out)
    if args.limit:
        data = data.shuffle(seed=0).select(range(min(args.limit, len(data))))
    budgets = args.budgets or ["full", *(model.config.budgets or {})]
    curve = measure_curve(model, tokenizer, data, {name: parse_length_config(name) for name in budgets})
    print(f"{len(data)} questions; PyTorch {torch.__version__} fp32, {torch.get_num_threads()} threads\n")
    print(markdown_table(COLUMNS, curve_rows(curve)))
    plot_curve(curve, args.plot, args.title)
    numbers = {name: point.to_dict() for name, point in curve.items()}
    args.plot.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print(f"\n{args.plot} and {args.plot.with_suffix('.json')} written.")


if __name__ == "__main__":
    main()
