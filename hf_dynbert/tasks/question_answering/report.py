# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""One model at several budgets: measured, as a table, and as a picture."""

from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset

from .evaluate import SquadEvaluation, evaluate_squad


COLUMNS = ("budget", "EM", "F1", "F1 lost", "MACs (G)", "MACs", "latency p50 (ms)")


def measure_curve(model, tokenizer, data: Dataset, budgets: Mapping[str, object], **kwargs) -> dict[str, SquadEvaluation]:
    """Evaluates a model at several budgets."""
    return {name: evaluate_squad(model, tokenizer, data, length_config=budget, **kwargs) for name, budget in budgets.items()}


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
    from matplotlib.figure import Figure  # in the `demo` extra; importing the package must not need it

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
