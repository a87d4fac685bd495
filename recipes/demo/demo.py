# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""One int8 file at three budgets.

    make demo        or        python recipes/demo/demo.py

Loads the starter checkpoint from recipes/quala-minilm-squad/checkpoint, scores it on 96 original questions (recipes/data),
times it on a passage of 384 tokens, and answers some questions. The picture is written to outputs/demo.
"""

import time
from pathlib import Path

from datasets import Dataset
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer, pipeline

from hf_dynbert import evaluate_squad, load_squad
from hf_dynbert.budgets.choosing import threads_of
from hf_dynbert.budgets.latency import NOISE_LIMIT, time_in_turns


HERE = Path(__file__).parent
CHECKPOINT = HERE.parent / "quala-minilm-squad" / "checkpoint"
OUTPUT = Path("outputs/demo")
BUDGETS = ("full", "balanced", "fast")
TOKENS = 384  # of the timed passage: the window of SQuAD models
QUESTION = "Who was the first chairman of the company?"  # asked first
COLUMNS = ("budget", "F1", "F1 lost", "operations", f"ms at {TOKENS} tokens", "× full")


def main() -> None:
    """Runs the demo."""
    from hf_dynbert import OVDynamicTinyBertForQuestionAnswering  # train_demo.py imports this file, and needs no OpenVINO

    begin, console = time.perf_counter(), Console()
    console.rule("1. Load")
    model = OVDynamicTinyBertForQuestionAnswering.from_pretrained(CHECKPOINT)
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    megabytes = sum(file.stat().st_size for file in CHECKPOINT.iterdir()) / 1e6
    console.print(f"{CHECKPOINT.relative_to(HERE.parent)}: {megabytes:.1f} MB, int8, one file for every budget.")

    validation = load_squad(str(HERE.parent / "data" / "held-out.json"))
    console.rule("2. Measure")
    measure(console, model, tokenizer, validation, BUDGETS, "Starter checkpoint")

    console.rule("3. Answer")
    answer_some(console, model, tokenizer, validation, BUDGETS)
    console.print(f"\nDone in {time.perf_counter() - begin:.0f} seconds.")


def measure(console: Console, model, tokenizer, data: Dataset, budgets: tuple[str, ...], title: str) -> None:
    """Prints F1 on the questions and latencies on a passage of `TOKENS` tokens, and draws both."""
    scores = {name: evaluate_squad(model, tokenizer, data, length_config=name, latency_samples=0) for name in budgets}
    inputs = long_input(tokenizer, data)
    latencies = time_in_turns(lambda name: model(**inputs, length_config=name), budgets)
    table = Table(title=f"{len(data)} questions; latency at batch 1 in turns, {threads_of(model)} threads")
    for column in COLUMNS:
        table.add_column(column)
    full, full_latency = scores[budgets[0]], latencies[0]
    for (name, score), latency in zip(scores.items(), latencies, strict=True):
        lost = f"{100 * (1 - score.f1 / full.f1):.1f} %" if full.f1 else "-"
        ratio = f"{latency.median_ms / full_latency.median_ms:.2f}"
        table.add_row(name, f"{score.f1:.1f}", lost, f"{100 * score.macs_ratio:.0f} %", f"{latency.median_ms:.1f}", ratio)
    console.print(table)
    if any(latency.is_noisy for latency in latencies):
        spread = max(latency.spread for latency in latencies)
        console.print(
            f"This machine is busy: half of the calls differ by {100 * spread:.0f} % of the median (at most "
            f"{100 * NOISE_LIMIT:.0f} % on a quiet machine). Run the demo again when nothing else runs.",
            style="yellow",
        )
    points = {name: (latency.median_ms, scores[name].f1) for name, latency in zip(budgets, latencies, strict=True)}
    console.print(f"Picture: {plot(points, OUTPUT / 'curve.png', f'{title} on the sample corpus')}")


def long_input(tokenizer, data: Dataset) -> dict:
    """A question with the paragraphs of its article, cut to `TOKENS` tokens; tensors of shape (1, `TOKENS`)."""
    title = data[0]["title"]
    paragraphs = dict.fromkeys(row["context"] for row in data if row["title"] == title)  # each once, in order
    passage = " ".join(paragraphs)
    return dict(tokenizer(QUESTION, passage, truncation="only_second", max_length=TOKENS, return_tensors="pt"))


def plot(points: dict[str, tuple[float, float]], path: Path, title: str) -> Path:
    """Draws F1 over milliseconds and returns the file."""
    from matplotlib.figure import Figure  # in the `demo` extra

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([latency for latency, _ in points.values()], [f1 for _, f1 in points.values()], marker="o")
    for name, place in points.items():
        axes.annotate(name, place, textcoords="offset points", xytext=(6, -12))
    axes.set(title=title, xlabel=f"ms at batch 1, {TOKENS} tokens", ylabel="F1")
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def answer_some(console: Console, model, tokenizer, data: Dataset, budgets: tuple[str, ...]) -> None:
    """Answers `QUESTION` and three more questions at each budget."""
    ask = pipeline("extractive-qa", model=model, tokenizer=tokenizer)
    first = list(data["question"]).index(QUESTION)
    for index in (first, *range(len(data) // 4, len(data), len(data) // 4)):
        row = data[index]
        console.print(f"\n[bold]{row['question']}[/bold]  (gold: {row['answers']['text'][0]})")
        for budget in budgets:
            answer = ask(question=row["question"], context=row["context"], length_config=budget)
            console.print(f"  {budget:<8} {answer['answer']}  ({answer['score']:.2f})", highlight=False)


if __name__ == "__main__":
    main()
