# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Latencies of several models on one machine. The models take turns, so that a disturbance affects all models alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm


WARMUP = 3  # least number of calls that are not timed: the first ones allocate memory and choose kernels
BURST = 8  # timed calls in a turn. One more before them is not timed: it finds the caches full of the others' weights


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


@dataclass(frozen=True)
class Latency:
    """Milliseconds of a call: the median, and what nine tenths of the calls stay under."""

    p50: float
    p90: float


def measure_latencies(
    entries: Sequence[BenchmarkEntry], cases: Mapping[str, Sequence[Mapping]], repeats: int, progress: bool = True
) -> dict[str, dict[str, Latency]]:
    """Times every entry on every case, warm, as in a server that runs one model.

    Each batch has been seen once before it is timed: a length that a runtime meets for the first time may cost it several
    times as much, as kernels are compiled for it. In a turn every entry has a burst of calls, whose first is not timed.

    Args:
        entries (`list[BenchmarkEntry]`): who.
        cases (`dict[str, list[dict]]`): name to batches; call by call the next of them, the same for all entries.
        repeats (`int`): turns a case, each of `BURST` timed calls.
        progress (`bool`, *optional*, defaults to `True`): whether to show a progress bar.

    Returns:
        `dict[str, dict[str, Latency]]`: case, then entry.
    """
    cases = {case: batches[: repeats * BURST + 1] for case, batches in cases.items()}
    measured = {}
    with tqdm(total=len(cases) * (repeats + 1), desc="Benchmark", disable=not progress) as bar:
        for case, batches in cases.items():
            for entry in entries:
                for call in range(max(WARMUP, len(batches))):
                    entry.call(batches[call % len(batches)])
            bar.update()
            times: dict[str, list[float]] = {entry.name: [] for entry in entries}
            for turn in range(repeats):
                burst = [batches[(turn * BURST + call) % len(batches)] for call in range(BURST + 1)]
                # Each turn begins with another one, so that nobody always follows the same neighbour
                for entry in _rotated(entries, turn):
                    entry.call(burst[0])
                    times[entry.name] += [_timed(entry, batch) for batch in burst[1:]]
                bar.update()
            measured[case] = {name: _latency(values) for name, values in times.items()}
    return measured


def _timed(entry: BenchmarkEntry, batch: Mapping) -> float:
    begin = time.perf_counter()
    entry.call(batch)
    return 1000 * (time.perf_counter() - begin)


def benchmark_rows(
    entries: Sequence[BenchmarkEntry], measured: Mapping[str, Mapping[str, Latency]], references: Sequence[str]
) -> list[dict]:
    """The measurements as one dict a entry: size, MACs, and for each case p50, p90 and speed-ups over the references."""
    rows = []
    for entry in entries:
        row = {"name": entry.name, "size_mb": entry.size / 1e6, "macs_g": entry.macs / 1e9, "cases": {}}
        for case, latencies in measured.items():
            own = latencies[entry.name]
            speed_ups = {name: latencies[name].p50 / own.p50 for name in references}
            row["cases"][case] = {"p50_ms": own.p50, "p90_ms": own.p90, "speed_up": speed_ups}
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
    """Draws the medians as bars, with a whisker to p90; a panel a case.

    Args:
        rows (`list[dict]`): from `benchmark_rows`.
        path (`Path`): PNG to write.
        title (`str`): machine and settings.

    Returns:
        `Path`: the file.
    """
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


def _rotated(items: Sequence, by: int) -> list:
    by %= len(items)
    return [*items[by:], *items[:by]]


def _latency(values: list[float]) -> Latency:
    return Latency(statistics.median(values), float(np.percentile(values, 90)))
