# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Fine-tunes a model in a few minutes, saves and loads it, and answers at three budgets.

    make demo-train        or        python recipes/demo/train_demo.py

All files are written to outputs/demo. The data are 64 short original texts with 512 questions (recipes/data), too few for a
good model; recipes/dynamic-minilm-squad has results on SQuAD.
"""

import time
from pathlib import Path

from demo import OUTPUT, answer_some, measure
from rich.console import Console
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
from weights import fetch_minilm

from hf_dynbert import DistillationArguments, load_squad
from hf_dynbert.commands.parsing import parse_arguments
from hf_dynbert.recipes.arguments import DataArguments, ModelArguments
from hf_dynbert.recipes.run import run_recipe


HERE = Path(__file__).parent
BUDGETS = ("full", "half", "third")


def main() -> None:
    """Runs the demo."""
    begin, console = time.perf_counter(), Console()
    console.rule("1. MiniLM-L6")
    console.print(f"Weights in {fetch_minilm(OUTPUT / 'minilm-l6')}, checksum right.")

    console.rule("2. Fine-tuning once, for every budget")
    arguments = parse_arguments([str(HERE / "train_demo.yaml")], (ModelArguments, DataArguments, DistillationArguments))
    folder = run_recipe(*arguments)

    console.rule("3. Load and measure")
    model, tokenizer = AutoModelForQuestionAnswering.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    validation = load_squad(str(HERE.parent / "data" / "held-out.json"))
    measure(console, model, tokenizer, validation, BUDGETS, "MiniLM-L6, trained")

    console.rule("4. Answer")
    answer_some(console, model, tokenizer, validation, BUDGETS)
    console.print(f"\nDone in {(time.perf_counter() - begin) / 60:.1f} minutes. The model is in {folder}.")


if __name__ == "__main__":
    main()
