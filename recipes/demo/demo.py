# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The main job in a few minutes: fine-tune once, save, pull back, answer at three budgets.

    make demo        or        python recipes/demo/demo.py

Everything lands in outputs/demo. The data are 64 short original texts with 512 questions (recipes/data), far too few for a
good model: the demo shows the way, recipes/dynamic-minilm-squad shows what it is worth on SQuAD.
"""

import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, pipeline
from weights import fetch_minilm

from hf_dynbert import DistillationArguments, load_squad
from hf_dynbert.curve import COLUMNS, curve_rows, measure_curve, plot_curve
from hf_dynbert.options import parse_arguments
from hf_dynbert.training.recipe import run_recipe
from hf_dynbert.training.recipe_arguments import DataArguments, ModelArguments


HERE = Path(__file__).parent
OUTPUT = Path("outputs/demo")
BUDGETS = ("full", "half", "third")


def main() -> None:
    """Runs the demo."""
    begin, console = time.perf_counter(), Console()
    console.rule("1. MiniLM-L6")
    console.print(f"Weights in {fetch_minilm(OUTPUT / 'minilm-l6')}, checksum right.")

    console.rule("2. Fine-tuning once, for every budget")
    arguments = parse_arguments([str(HERE / "demo.yaml")], (ModelArguments, DataArguments, DistillationArguments))
    folder = run_recipe(*arguments)

    console.rule("3. Pulling it back and measuring")
    model, tokenizer = AutoModelForQuestionAnswering.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    held_out = load_squad(str(HERE.parent / "data" / "held-out.json"))
    curve = measure_curve(model, tokenizer, held_out, {name: name for name in BUDGETS})
    table = Table(title=f"{len(held_out)} held-out questions, batch 1 unpadded, {torch.get_num_threads()} threads")
    for column in COLUMNS:
        table.add_column(column)
    for row in curve_rows(curve):
        table.add_row(*row)
    console.print(table)
    console.print(f"Curve: {plot_curve(curve, OUTPUT / 'curve.png', 'Demo: MiniLM-L6 on the sample corpus')}")

    console.rule("4. Asking")
    ask = pipeline("extractive-qa", model=model, tokenizer=tokenizer)
    for index in range(0, len(held_out), len(held_out) // 4):
        row = held_out[index]
        console.print(f"\n[bold]{row['question']}[/bold]  (gold: {row['answers']['text'][0]})")
        for budget in BUDGETS:
            answer = ask(question=row["question"], context=row["context"], length_config=budget)
            console.print(f"  {budget:<6} {answer['answer']}  ({answer['score']:.2f})", highlight=False)
    console.print(f"\nDone in {(time.perf_counter() - begin) / 60:.1f} minutes. The model is in {folder}.")


if __name__ == "__main__":
    main()
