# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Accuracy, operations and latency of a model at a budget, for every task."""

from dataclasses import dataclass

import numpy as np

from ..budgets.choosing import threads_of
from ..budgets.latency import run_model, time_in_turns
from ..budgets.model_budgets import count_macs
from ..subnetwork import SubNetwork
from ..utils.errors import check_number
from .base import Evaluator, Scores, budget_arguments
from .inference import evaluation_mode


@dataclass(frozen=True)
class Measurement:
    """Accuracy, operations and latency of a model at one budget.

    Args:
        scores ([`Scores`]): metrics, and score and prediction of each example.
        primary_metric (`str`): the task's primary metric.
        examples (`int`): number of examples.
        macs_mean (`float`): mean multiply-accumulates of an input, counted on its real tokens.
        macs_ratio (`float`): `macs_mean` divided by its value at full length.
        latency_ms_p50, latency_ms_p90 (`float` or `None`): percentiles over inputs, timed at batch 1 without padding;
            `None` if nothing was timed.
        threads (`int`): threads of a call.
        length_config (`list` or `None`): the length configuration; `None` keeps all tokens.
    """

    scores: Scores
    primary_metric: str
    examples: int
    macs_mean: float
    macs_ratio: float
    latency_ms_p50: float | None
    latency_ms_p90: float | None
    threads: int
    length_config: list | None

    @property
    def primary(self) -> float:
        """Value of the primary metric."""
        return self.scores.metrics[self.primary_metric]

    def to_dict(self) -> dict:
        """Everything except the predictions, as JSON can write it."""
        names = ("examples", "macs_mean", "macs_ratio", "latency_ms_p50", "latency_ms_p90", "threads", "length_config")
        return self.scores.metrics | {name: getattr(self, name) for name in names}


def measure(model, evaluator: Evaluator, budget=None, latency_samples: int = 50) -> Measurement:
    """Measures a model at one budget.

    Args:
        model: any model of transformers or Optimum for the evaluator's task.
        evaluator ([`Evaluator`]): data and metrics.
        budget (*optional*): for length-adaptive models, see [`SubNetwork.parse`]; `None` is the model's default.
        latency_samples (`int`, *optional*, defaults to 50): inputs to time at batch 1, spread over the lengths; 0 for none.

    Raises:
        ValueError: a budget that the model cannot run, or negative `latency_samples`; before any work.
    """
    check_number("latency_samples", latency_samples, 0, example=50, whole=True)
    call = budget_arguments(model, budget)
    subnetwork = model.config.resolve_budget(budget) if hasattr(model.config, "resolve_budget") else SubNetwork()
    scores = evaluator.evaluate(model, budget)
    macs = float(np.mean([count_macs(model.config, subnetwork, length) for length in evaluator.lengths]))
    full = float(np.mean([count_macs(model.config, SubNetwork(), length) for length in evaluator.lengths]))
    latencies = _latencies(model, evaluator, latency_samples, call)
    return Measurement(
        scores=scores,
        primary_metric=evaluator.primary_metric,
        examples=len(scores.per_example),
        macs_mean=macs,
        macs_ratio=macs / full,
        latency_ms_p50=float(np.percentile(latencies, 50)) if latencies else None,
        latency_ms_p90=float(np.percentile(latencies, 90)) if latencies else None,
        threads=threads_of(model),
        length_config=None if subnetwork.length_config is None else list(subnetwork.length_config),
    )


def _latencies(model, evaluator: Evaluator, samples: int, call: dict) -> list[float]:
    """Median milliseconds of each timed input."""
    if not samples:
        return []
    inputs = evaluator.timed_inputs(samples)
    with evaluation_mode(model):
        latencies = time_in_turns(lambda item: run_model(model, item, **call), inputs, turns=1)
    return [latency.median_ms for latency in latencies]
