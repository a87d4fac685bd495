# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Latencies of several models on one machine. The models take turns, so that other load affects all alike."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..budgets.latency import Latency, time_in_turns


BURST = 9  # calls of an entry in a row; the first is not timed, since the caches hold the weights of other entries


@dataclass(frozen=True)
class BenchmarkEntry:
    """One row of a benchmark.

    Args:
        name (`str`): the row's name.
        call (`Callable`): runs the model on a batch, a dict of `(B, L)` tensors.
        size (`int`): bytes of the weights.
        macs (`int`): multiply-accumulates at 384 tokens.
    """

    name: str
    call: Callable[[Mapping], object]
    size: int
    macs: int


def measure_entries(
    entries: Sequence[BenchmarkEntry], cases: Mapping[str, Sequence[Mapping]], repeats: int, progress: bool = True
) -> dict[str, dict[str, Latency]]:
    """Times every entry on every case, in turns, see [`~hf_dynbert.budgets.latency.time_in_turns`].

    Each batch runs once before it is timed, since a runtime compiles kernels for a new length.
    """
    measured = {}
    with tqdm(total=len(cases) * (repeats + 1), desc="Benchmark", disable=not progress) as bar:
        for case, batches in cases.items():
            batches = batches[: repeats * BURST]
            for entry in entries:
                for batch in batches:
                    entry.call(batch)
            bar.update()
            upcoming = {entry.name: itertools.cycle(batches) for entry in entries}

            def call(entry: BenchmarkEntry, upcoming=upcoming) -> None:
                entry.call(next(upcoming[entry.name]))

            latencies = time_in_turns(call, entries, repeats, bar.update, BURST)
            measured[case] = {entry.name: latency for entry, latency in zip(entries, latencies, strict=True)}
    return measured


def benchmark_rows(
    entries: Sequence[BenchmarkEntry], measured: Mapping[str, Mapping[str, Latency]], references: Sequence[str]
) -> list[dict]:
    """One dict for each entry: size, MACs, and for each case p50, p90 and speed-ups over the references."""
    rows = []
    for entry in entries:
        row = {"name": entry.name, "size_mb": entry.size / 1e6, "macs_g": entry.macs / 1e9, "cases": {}}
        for case, latencies in measured.items():
            own = latencies[entry.name]
            speed_ups = {name: latencies[name].median_ms / own.median_ms for name in references}
            row["cases"][case] = {"p50_ms": own.median_ms, "p90_ms": own.p90_ms, "speed_up": speed_ups}
        rows.append(row)
    return rows


def table_of(rows: Sequence[dict]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells of `benchmark_rows`, as text: each case's median (p90), and its speed-ups."""
    cases = list(rows[0]["cases"])
    references = list(rows[0]["cases"][cases[0]]["speed_up"])
    columns = ["", "MB", "MACs (G)"]
    for case in cases:
        columns += [f"{case}, ms (p90)", *(f"× {name}" for name in references)]
    lines = []
    for row in rows:
        line = [row["name"], f"{row['size_mb']:.1f}", f"{row['macs_g']:.2f}"]
        for case in row["cases"].values():
            line.append(f"{case['p50_ms']:.1f} ({case['p90_ms']:.1f})")
            line += [f"{value:.2f}" for value in case["speed_up"].values()]
        lines.append(line)
    return columns, lines


def plot_benchmark(rows: Sequence[dict], path: Path, title: str) -> Path:
    """Draws the medians as bars, with a whisker to p90, in one panel for each case."""
    from matplotlib.figure import Figure  # in the `demo` extra; importing the package must not need it

    cases = list(rows[0]["cases"])
    figure = Figure(figsize=(5 * len(cases) + 2, 1.5 + 0.32 * len(rows)), layout="constrained")
    figure.suptitle(title)
    names = [row["name"] for row in rows]
    for axes, case in zip(np.atleast_1d(figure.subplots(1, len(cases), sharey=True)), cases, strict=True):
        p50 = [row["cases"][case]["p50_ms"] for row in rows]
        p90 = [row["cases"][case]["p90_ms"] for row in rows]
        whiskers = [[0] * len(rows), [max(0, high - middle) for middle, high in zip(p50, p90, strict=True)]]
        bars = axes.barh(names, p50, xerr=whiskers, color="tab:blue", ecolor="gray")
        axes.bar_label(bars, labels=[f"{value:.1f}" for value in p50], padding=4, fontsize=8)
        axes.set_xscale("log")
        axes.set_xlim(min(p50) / 2, 2.5 * max(p90))  # room for the labels
        axes.set_title(case, fontsize=10)
        axes.set_xlabel("ms, median and p90")
        axes.grid(axis="x", alpha=0.3)
    figure.axes[0].invert_yaxis()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
