# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A front as a picture."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from ..budget import Budget
from .pareto import pareto_front


LINE = 130  # characters of the title that the picture is wide enough for
MARKS = "sDv^<>"  # of other models, each with its line in the legend


def plot_front(
    kept: Sequence[Budget],
    full: Budget,
    constant: Sequence[Budget],
    others: Sequence[Budget],
    named: Mapping[str, Budget],
    path: Path,
    title: str,
) -> Path:
    """Draws F1 against latency and against operations: the front, constant drop ratios, and whatever else was measured.

    Args:
        kept (`list[Budget]`): the front, and what has a name beside it.
        full (`Budget`): all tokens.
        constant, others (`list[Budget]`): to compare with.
        named (`dict[str, Budget]`): points that have a name.
        path (`Path`): PNG to write.
        title (`str`): machine and sample.

    Returns:
        `Path`: the file.
    """
    from matplotlib.figure import Figure  # in the `demo` extra; importing the package must not need it

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    figure.suptitle("\n".join(textwrap.wrap(title, LINE)), fontsize=9)
    panels = (
        ("latency at batch 1, unpadded (ms)", lambda budget: budget.latency_ms),
        ("MACs on real tokens (% of full length)", lambda budget: 100 * budget.macs / full.macs),
    )
    for axes, (label, value) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
        for points, kind, style in (
            (sorted(constant, key=value), "constant drop ratio", {"color": "tab:gray", "marker": ".", "linestyle": ":"}),
            ([kept[place] for place in _front(kept, value)], "found", {"color": "tab:blue", "marker": "o"}),
            *(([one], one.name, {"marker": mark, "linestyle": ""}) for one, mark in zip(others, cycle(MARKS), strict=False)),
            ([full], "all tokens", {"color": "black", "marker": "*", "markersize": 11, "linestyle": ""}),
        ):
            if points:
                axes.plot(list(map(value, points)), [budget.f1 for budget in points], label=kind, **style)
        axes.plot([value(one) for one in named.values()], [one.f1 for one in named.values()], "o", color="tab:blue")
        for number, (name, budget) in enumerate(named.items(), start=1):  # one below the other: they lie close together
            place = {
                "textcoords": "offset points",
                "xytext": (18, -20 * number),
                "arrowprops": {"arrowstyle": "-", "lw": 0.5},
            }
            axes.annotate(name, (value(budget), budget.f1), fontsize=9, **place)
        axes.set_xlabel(label)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("F1")
    figure.axes[1].legend(loc="lower right", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def _front(budgets: Sequence[Budget], cost) -> list[int]:
    return pareto_front([(cost(budget), budget.f1) for budget in budgets])
