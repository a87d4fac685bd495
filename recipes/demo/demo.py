# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""One int8 file, asked at three budgets.

    make demo        or        python recipes/demo/demo.py

Takes the starter checkpoint that lies in recipes/quala-minilm-squad/checkpoint, measures it on 96 short original questions
(recipes/data), and asks it. Everything lands in outputs/demo.
"""

import time
from pathlib import Path

from datasets import Dataset
from rich.console import Console
from transformers import AutoTokenizer, pipeline

from hf_dynbert import load_squad
from hf_dynbert.tasks.question_answering.report import COLUMNS, curve_rows, measure_curve, plot_curve
from hf_dynbert.utils.tables import print_table


HERE = Path(__file__).parent
CHECKPOINT = HERE.parent / "quala-minilm-squad" / "checkpoint"
OUTPUT = Path("outputs/demo")
BUDGETS = ("full", "balanced", "fast")


def main() -> None:
    """Runs the demo."""
    from hf_dynbert import OVDynamicTinyBertForQuestionAnswering  # train_demo.py imports this file, and needs no OpenVINO

    begin, console = time.perf_counter(), Console()
    console.rule("1. Pulling")
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(CHECKPOINT)
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    megabytes = sum(file.stat().st_size for file in CHECKPOINT.iterdir()) / 1e6
    console.print(f"{CHECKPOINT.relative_to(HERE.parent)}: {megabytes:.1f} MB, int8, one file for every budget.")

    held_out = load_squad(str(HERE.parent / "data" / "held-out.json"))
    console.rule("2. Measuring")
    measure(console, model, tokenizer, held_out, BUDGETS, "Starter checkpoint")

    console.rule("3. Asking")
    ask_some(console, model, tokenizer, held_out, BUDGETS)
    console.print(f"\nDone in {time.perf_counter() - begin:.0f} seconds.")


def measure(console: Console, model, tokenizer, data: Dataset, budgets: tuple[str, ...], title: str) -> None:
    """A table in the terminal, and a curve as a picture."""
    curve = measure_curve(model, tokenizer, data, {name: name for name in budgets})
    title = f"{len(data)} short questions, batch 1 unpadded, {curve[budgets[0]].threads} threads"
    print_table(COLUMNS, curve_rows(curve), title)
    console.print(f"Curve: {plot_curve(curve, OUTPUT / 'curve.png', f'{title} on the sample corpus')}")


def ask_some(console: Console, model, tokenizer, data: Dataset, budgets: tuple[str, ...]) -> None:
    """A few questions at each budget."""
    ask = pipeline("extractive-qa", model=model, tokenizer=tokenizer)
    for index in range(0, len(data), len(data) // 4):
        row = data[index]
        console.print(f"\n[bold]{row['question']}[/bold]  (gold: {row['answers']['text'][0]})")
        for budget in budgets:
            answer = ask(question=row["question"], context=row["context"], length_config=budget)
            console.print(f"  {budget:<8} {answer['answer']}  ({answer['score']:.2f})", highlight=False)


if __name__ == "__main__":
    main()
