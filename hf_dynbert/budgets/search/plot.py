# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The picture of a search."""

import textwrap
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from ..budget import Budget
from .evaluator import Kind
from .pareto import pareto_front
from .report import Report


TITLE_WIDTH = 130  # characters for which the picture is wide enough
MARKERS = "sDv^<>"  # of listed configurations and baselines, each with its line in the legend


def plot_front(report: Report, path: Path, title: str) -> Path:
    """Draws the score against latency and against operations: the front, constant drop ratios, and the other rows."""
    from matplotlib.figure import Figure  # it comes with the `search` extra; importing the package must not need it

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    figure.suptitle("\n".join(textwrap.wrap(title, TITLE_WIDTH)), fontsize=9)
    full_macs = report.selection.full.macs
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, report, "latency at batch 1, unpadded (ms)", lambda budget: budget.latency_ms)
    _draw(right, report, "MACs on real tokens (% of full length)", lambda budget: 100 * budget.macs / full_macs)
    left.set_ylabel(report.columns()[2])
    right.legend(loc="lower right", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def _draw(axes, report: Report, label: str, cost: Callable[[Budget], float]) -> None:
    """One panel."""

    def draw(budgets: list[Budget], name: str, **style) -> None:
        if budgets:
            axes.plot([cost(budget) for budget in budgets], [budget.score for budget in budgets], label=name, **style)

    selection = report.selection
    constant = sorted([one.budget for one in report.of_kind(Kind.CONSTANT)], key=cost)
    front = pareto_front([(cost(budget), budget.score) for budget in selection.saved])
    draw(constant, "constant drop ratio", color="tab:gray", marker=".", linestyle=":")
    draw([selection.saved[index] for index in front], "found", color="tab:blue", marker="o")
    for one, marker in zip(report.of_kind(Kind.LISTED, Kind.BASELINE), cycle(MARKERS), strict=False):
        draw([one.budget], one.budget.name, marker=marker, linestyle="")
    draw([selection.full], "all tokens", color="black", marker="*", markersize=11, linestyle="")
    for number, (name, budget) in enumerate(selection.named.items(), start=1):  # names stand below each other
        axes.plot([cost(budget)], [budget.score], "o", color="tab:blue")
        axes.annotate(
            name,
            (cost(budget), budget.score),
            fontsize=9,
            textcoords="offset points",
            xytext=(18, -20 * number),
            arrowprops={"arrowstyle": "-", "lw": 0.5},
        )
    axes.set_xlabel(label)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
