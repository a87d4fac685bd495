# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Measurements of several budgets as a table."""

from collections.abc import Mapping

from .measurement import Measurement


SHORT_NAMES = {"exact_match": "EM", "f1": "F1", "f1_macro": "macro F1"}


def measurement_table(results: Mapping[str, Measurement]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: metrics, loss of the primary metric, operations and latency."""
    first = next(iter(results.values()))
    metrics = list(first.scores.metrics)
    primary = SHORT_NAMES.get(first.primary_metric, first.primary_metric)
    columns = ["budget", *(SHORT_NAMES.get(name, name) for name in metrics)]
    columns += [f"{primary} lost", "MACs (G)", "MACs", "latency p50 (ms)"]
    rows = []
    for name, result in results.items():
        lost = f"{100 * (1 - result.primary / first.primary):.1f} %" if first.primary > 0 else "-"
        latency = "-" if result.latency_ms_p50 is None else f"{result.latency_ms_p50:.1f}"
        cost = [f"{result.macs_mean / 1e9:.2f}", f"{100 * result.macs_ratio:.0f} %", latency]
        rows.append([name, *(f"{result.scores.metrics[metric]:.2f}" for metric in metrics), lost, *cost])
    return columns, rows
