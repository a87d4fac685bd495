# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The picture of a search."""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

from ...configuration_dynamic_tinybert import FULL
from ..budget import Budget
from .pareto import pareto_front


TITLE_WIDTH = 130  # characters for which the picture is wide enough


def plot_front(budgets: Mapping[str, Budget], path: Path, title: str) -> None:
    """Draws the score of the saved budgets against latency and against operations."""
    from matplotlib.figure import Figure  # it comes with the `search` extra; importing the package must not need it

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    figure.suptitle("\n".join(textwrap.wrap(title, TITLE_WIDTH)), fontsize=9)
    full = budgets[FULL]
    left, right = figure.subplots(1, 2, sharey=True)
    _draw(left, budgets, "latency of an input, unpadded (ms)", lambda budget: budget.latency_ms)
    _draw(right, budgets, "MACs on real tokens (% of full length)", lambda budget: 100 * budget.macs / full.macs)
    left.set_ylabel(full.metric_label)
    right.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=120)


def _draw(axes, budgets: Mapping[str, Budget], label: str, cost: Callable[[Budget], float]) -> None:
    """One panel."""
    full = budgets[FULL]
    found = [(cost(budget), budget.score) for budget in budgets.values() if not budget.is_full]
    front = [found[index] for index in pareto_front(found)]
    axes.plot([x for x, _ in front], [score for _, score in front], color="tab:blue", marker="o", label="found")
    axes.plot([cost(full)], [full.score], color="black", marker="*", markersize=11, linestyle="", label="all tokens")
    named = [budget for budget in budgets.values() if not budget.is_full and not budget.point]
    for number, budget in enumerate(named, start=1):  # names stand below each other
        axes.plot([cost(budget)], [budget.score], "o", color="tab:blue")
        axes.annotate(
            budget.name,
            (cost(budget), budget.score),
            fontsize=9,
            textcoords="offset points",
            xytext=(18, -20 * number),
            arrowprops={"arrowstyle": "-", "lw": 0.5},
        )
    axes.set_xlabel(label)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
