# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Scores and times the budgets of a model, and other models next to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import torch
from tqdm.auto import tqdm

from ...configuration_dynamic_tinybert import FULL
from ...subnetwork import SubNetwork
from ...tasks import Evaluator
from ..budget import Budget
from ..choosing import runtime_name, threads_of
from ..latency import BURST, Latency, machine_name, run_model, time_in_turns
from ..model_budgets import count_macs


SEARCH, CONFIRM, TRAINING_SAMPLE = "search", "confirm", "training"
SAMPLES = (SEARCH, CONFIRM, TRAINING_SAMPLE)
Z_95 = 1.645  # standard normal quantile: a value this many standard errors inside a limit is inside with 95 % confidence
SEARCH_TURNS = 3  # bursts that time a configuration during the search
REPORT_TURNS = 12  # bursts of the last measurement, whose latencies are saved
SHORT_LENGTHS = (16, 32, 48, 64, 96, 128)  # tokens at which a budget may be slower than full length; runtimes pad to 16
# Standard error of a median of normally distributed values, in interquartile ranges: 1.253 / 1.349, divided by sqrt(n)
MEDIAN_ERROR = 0.929


class Kind(Enum):
    """Where a measured sub-network or model comes from."""

    FULL = "full"  # the searched model with all tokens
    FOUND = "found"  # a configuration that the search evaluated, or that the model's budgets have
    CONSTANT = "constant"  # a constant drop ratio
    LISTED = "listed"  # a configuration of the option length_configs
    BASELINE = "baseline"  # another model


@dataclass(frozen=True)
class Measurement:
    """What was measured of a sub-network or a model.

    Args:
        kind ([`Kind`]): where it comes from.
        budget ([`Budget`]): name, scores and costs.
        test_score (`float`, *optional*): score on the test examples.
    """

    kind: Kind
    budget: Budget
    test_score: float | None = None


@dataclass(frozen=True)
class Baseline:
    """Another model, measured next to the searched one.

    Args:
        name (`str`): its name in tables.
        model: a model of the same task.
        budget (`SubNetwork` or `None`): what runs of it; `None` for models that cannot drop tokens.
        confirming ([`Evaluator`]): evaluator of the examples that confirm the results, with this model's tokenizer.
        test ([`Evaluator`], *optional*): evaluator of the test examples.
    """

    name: str
    model: object
    budget: SubNetwork | None
    confirming: Evaluator
    test: Evaluator | None = None


class BudgetEvaluator:
    """Scores and times budgets of one model.

    Args:
        model: a length-adaptive model.
        evaluators (`dict[str, Evaluator]`): the task's evaluators: `search`, of the examples that score a configuration in
            the search; `confirm`, of further examples of the validation split; `training`, of the training split.
        cost (`str`): `latency` or `macs`, see [`SearchArguments`].
        latency_samples (`int`): inputs that are timed.
    """

    def __init__(self, model, evaluators: dict, cost: str, latency_samples: int):
        self.model, self.evaluators, self.cost, self.latency_samples = model, evaluators, cost, latency_samples
        self.confirming = evaluators[CONFIRM]
        self.tokens = round(sum(self.confirming.lengths) / len(self.confirming.lengths))
        self.timed = self.confirming.timed_inputs(latency_samples)
        self._scores: dict[tuple, np.ndarray] = {}  # (sample, length configuration) -> scores

    def score_and_cost(self, length_config: Sequence) -> tuple[float, float]:
        """Score on the examples of the search, and cost as a share of full length's."""
        score = float(self.scores(SEARCH, length_config).mean())
        if self.cost == "macs":
            return score, self.macs(length_config) / self.macs(None)
        # Full length is timed next to the configuration: a disturbance affects both alike
        full, own = self.latencies([None, length_config], SEARCH_TURNS)
        return score, own / full

    def full_score(self) -> float:
        """Score of full length on the examples of the search."""
        return float(self.scores(SEARCH, None).mean())

    def retained(self, length_config: Sequence) -> float:
        """Lower 95 % confidence bound on the share of full length's score that is retained.

        The loss is measured in points on the training split, whose many examples give a small standard error, and divided by
        full length's score on the validation split: on data that it was trained on the model scores higher, and the same
        loss would be a smaller share.
        """
        full, own = self.scores(TRAINING_SAMPLE, None), self.scores(TRAINING_SAMPLE, length_config)
        loss = float(full.mean() - own.mean()) + Z_95 * standard_error(own, full)
        reference = float(self.scores(CONFIRM, None).mean())
        return 1 - loss / reference if reference else 1.0

    def scores(self, sample: str, length_config: Sequence | None) -> np.ndarray:
        """The primary metric of each example of a sample, `(Q,)`; computed once."""
        key = (sample, None if length_config is None else tuple(length_config))
        if key not in self._scores:
            budget = FULL if length_config is None else list(length_config)
            scores = self.evaluators[sample].per_example(self.model, budget=budget)
            self._scores[key] = np.asarray(scores, dtype=float)
        return self._scores[key]

    def clear_scores(self) -> None:
        """Removes the computed scores: the model has changed."""
        self._scores.clear()

    def macs(self, length_config: Sequence | None) -> float:
        """Multiply-accumulates of an input, mean over the examples that confirm the results."""
        return _mean_macs(SubNetwork.parse(self.model.config, length_config or FULL), self.model, self.confirming)

    def latencies(self, length_configs: Sequence, turns: int, baselines: Sequence[Baseline] = ()) -> list[float]:
        """Milliseconds at batch 1 without padding, mean over the timed inputs, all of them measured in turns."""
        calls = [(self.model, self.timed, {"budget": length_config or FULL}) for length_config in length_configs]
        for baseline in baselines:
            budget = {} if baseline.budget is None else {"budget": baseline.budget}
            calls.append((baseline.model, baseline.confirming.timed_inputs(self.latency_samples), budget))

        def call(index: int) -> None:
            model, timed, budget = calls[index]
            for inputs in timed:
                run_model(model, inputs, **budget)

        return [latency.median_ms / len(self.timed) for latency in time_in_turns(call, range(len(calls)), turns)]

    def measure(
        self, candidates: Sequence[tuple[Kind, str, Sequence | None]], baselines: Sequence[Baseline] = ()
    ) -> list[Measurement]:
        """Scores and times full length, candidates and baselines on the examples that confirm the results.

        Args:
            candidates (`list[tuple]`): kind, name and length configuration of each.
            baselines (`list[Baseline]`, *optional*): other models.

        Returns:
            `list[Measurement]`: full length, then the candidates, then the baselines, in order.
        """
        candidates = [(Kind.FULL, FULL, None), *candidates]
        latencies = self.latencies([length_config for _, _, length_config in candidates], REPORT_TURNS, baselines)
        full_scores = self.scores(CONFIRM, None)
        common = {
            "machine": machine_name(threads_of(self.model)),
            "runtime": runtime_name(self.model),
            "tokens": self.tokens,
            "sample": f"{len(full_scores)} examples of the validation split",
            "metric": self.confirming.primary_metric,
        }
        measurements = []
        for number, (kind, name, length_config) in enumerate(tqdm(candidates, desc="Confirm", unit="config")):
            scores = self.scores(CONFIRM, length_config)
            error = None if length_config is None else standard_error(scores, full_scores)
            budget = Budget(
                name=name,
                length_config=None if length_config is None else list(length_config),
                score=float(scores.mean()),
                macs=self.macs(length_config),
                latency_ms=latencies[number],
                score_error=error,
                **common,
            )
            measurements.append(Measurement(kind, budget))
        for baseline, latency in zip(baselines, latencies[len(candidates) :], strict=True):
            budget = Budget(
                name=baseline.name,
                length_config=_length_config(baseline.budget),
                score=baseline.confirming(baseline.model, **_budget_of(baseline))[common["metric"]],
                macs=_mean_macs(baseline.budget or SubNetwork(), baseline.model, baseline.confirming),
                latency_ms=latency,
                **common | {"runtime": getattr(baseline.model, "runtime_name", type(baseline.model).__name__)},
            )
            measurements.append(Measurement(Kind.BASELINE, budget))
        return measurements

    def test(self, measurements: Sequence[Measurement], test, baselines: Sequence[Baseline]) -> list[Measurement]:
        """The measurements with their scores on the test examples."""
        by_name = {baseline.name: baseline for baseline in baselines}
        scored = []
        for measurement in tqdm(measurements, desc="Test", unit="config"):
            if measurement.kind is Kind.BASELINE:
                baseline = by_name[measurement.budget.name]
                metrics = baseline.test(baseline.model, **_budget_of(baseline))
            else:
                metrics = test(self.model, budget=measurement.budget.length_config or FULL)
            scored.append(replace(measurement, test_score=metrics[test.primary_metric]))
        return scored

    def min_tokens_to_drop(self, length_config: Sequence) -> int:
        """Fewest tokens from which on a budget is faster than full length by more than the noise, at batch 1.

        It is one of `SHORT_LENGTHS`, or 0 if the budget is faster at all of them. The latencies of the two are measured in
        turns.
        """
        least = self.model.config.min_tokens_to_drop
        lengths = [length for length in SHORT_LENGTHS if length <= self.model.config.max_tokens]
        inputs = {length: _input_of(self.timed, length) for length in lengths}
        variants = [(length, budget) for length in lengths for budget in (FULL, list(length_config))]
        self.model.config.min_tokens_to_drop = 0  # else short inputs keep all tokens at every budget
        try:
            times = time_in_turns(
                lambda pair: run_model(self.model, inputs[pair[0]], budget=pair[1]), variants, REPORT_TURNS
            )
        finally:
            self.model.config.min_tokens_to_drop = least
        return fewest_tokens(lengths, times[0::2], times[1::2])


def standard_error(scores: np.ndarray, full_scores: np.ndarray) -> float:
    """Returns the standard error of the mean difference between two scores of the same examples, `(Q,)` each.

    The scores are paired: both rise and fall with the difficulty of an example, and only their differences count.
    """
    differences = np.subtract(scores, full_scores)
    return float(differences.std(ddof=1) / len(differences) ** 0.5) if len(differences) > 1 else float("inf")


def fewest_tokens(lengths: Sequence[int], full: Sequence[Latency], budget: Sequence[Latency]) -> int:
    """Fewest tokens from which on a budget is faster than full length by more than the noise.

    It is one of the measured lengths; 0 if the budget is faster at all of them; the last plus 1 if it is not faster there.
    """
    fewest = lengths[-1] + 1
    for length, full_latency, latency in reversed(list(zip(lengths, full, budget, strict=True))):
        if not _is_faster(latency, full_latency):
            return fewest
        fewest = length
    return 0


def _is_faster(latency: Latency, reference: Latency) -> bool:
    """Whether a latency is below another one with 95 % confidence."""
    timed_calls = REPORT_TURNS * (BURST - 1)
    errors = [MEDIAN_ERROR * one.spread * one.median_ms / timed_calls**0.5 for one in (latency, reference)]
    return reference.median_ms - latency.median_ms > Z_95 * (errors[0] ** 2 + errors[1] ** 2) ** 0.5


def _input_of(timed: Sequence[dict[str, torch.Tensor]], length: int) -> dict[str, torch.Tensor]:
    """One input of this length: the beginning of a real input, repeated where that is shorter."""
    longest = max(timed, key=lambda inputs: inputs["input_ids"].shape[1])
    repeats = -(-length // longest["input_ids"].shape[1])
    return {name: values.repeat(1, repeats)[:, :length] for name, values in longest.items()}


def _budget_of(baseline: Baseline) -> dict:
    return {} if baseline.budget is None else {"budget": baseline.budget}


def _length_config(budget: SubNetwork | None) -> list | None:
    return None if budget is None or budget.length_config is None else list(budget.length_config)


def _mean_macs(budget: SubNetwork, model, evaluator) -> float:
    return sum(count_macs(model.config, budget, length) for length in evaluator.lengths) / len(evaluator.lengths)
