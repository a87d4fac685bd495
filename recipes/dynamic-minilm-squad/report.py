# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Table and curve of a trained model at its budgets.

python report.py --model outputs/dynamic-minilm-squad --data dev-v1.1.json [--budgets full half third] [--plot curve.png]

Prints Markdown, writes the curve as a PNG and the numbers as JSON next to it. With --held_out 0.1 the data are training
files, of which only the validation split of a run with the same value is used.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from matplotlib.figure import Figure
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from hf_dynbert import evaluate_squad, load_squad
from hf_dynbert.budgets.sampling import parse_length_config
from hf_dynbert.tasks.question_answering import SquadEvaluation
from hf_dynbert.tasks.question_answering.squad import split_by_article
from hf_dynbert.utils.tables import markdown_table


COLUMNS = ("budget", "EM", "F1", "F1 lost", "MACs (G)", "MACs", "latency p50 (ms)")


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--held_out", type=float, help="use only the validation split of this share, by article")
    parser.add_argument("--limit", type=int, help="number of questions, at random")
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
    curve = {name: evaluate_squad(model, tokenizer, data, parse_length_config(name)) for name in budgets}
    print(f"{len(data)} questions; PyTorch {torch.__version__} fp32, {torch.get_num_threads()} threads\n")
    print(markdown_table(COLUMNS, curve_rows(curve)))
    plot_curve(curve, args.plot, args.title)
    numbers = {name: point.to_dict() for name, point in curve.items()}
    args.plot.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print(f"\n{args.plot} and {args.plot.with_suffix('.json')} written.")


def curve_rows(curve: Mapping[str, SquadEvaluation]) -> list[tuple[str, ...]]:
    """The curve as rows of text under `COLUMNS`; losses are relative to the first budget."""
    first = next(iter(curve.values()))
    return [
        (
            name,
            f"{point.exact_match:.2f}",
            f"{point.f1:.2f}",
            f"{100 * (1 - point.f1 / first.f1):.1f} %" if first.f1 else "-",
            f"{point.macs_mean / 1e9:.2f}",
            f"{100 * point.macs_ratio:.0f} %",
            f"{point.latency_ms_p50:.1f}",
        )
        for name, point in curve.items()
    ]


def plot_curve(curve: Mapping[str, SquadEvaluation], path: Path, title: str) -> Path:
    """Draws F1 against the share of operations and against latency."""
    points = sorted(curve.items(), key=lambda item: -item[1].macs_ratio)
    threads = points[0][1].threads
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(title)
    panels = (
        ("MACs on real tokens (% of full length)", lambda point: 100 * point.macs_ratio),
        (f"latency p50 at batch 1, unpadded, {threads} threads (ms)", lambda point: point.latency_ms_p50),
    )
    for axes, (label, value) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
        axes.plot([value(point) for _, point in points], [point.f1 for _, point in points], marker="o", color="tab:blue")
        for name, point in points:
            axes.annotate(name, (value(point), point.f1), textcoords="offset points", xytext=(6, -12), fontsize=9)
        axes.set_xlabel(label)
        axes.set_xlim(0, 1.15 * max(value(point) for _, point in points))  # room for the last name
        axes.margins(y=0.15)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("F1")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


if __name__ == "__main__":
    main()
