# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Scores and times the budgets of a model."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from tqdm.auto import tqdm

from ...configuration_dynamic_tinybert import FULL
from ...subnetwork import SubNetwork
from ..budget import Budget
from ..choosing import runtime_name, threads_of
from ..latency import BURST, Latency, machine_name, run_model, time_in_turns
from ..model_budgets import count_macs


SEARCH, CONFIRM, TRAINING_SAMPLE, TEST = "search", "confirm", "training", "test"
Z_95 = 1.645  # standard normal quantile: a value this many standard errors inside a limit is inside with 95 % confidence
SEARCH_TURNS = 3  # bursts that time a configuration during the search
REPORT_TURNS = 12  # bursts of the last measurement, whose latencies are saved
SHORT_LENGTHS = (16, 32, 48, 64, 96, 128)  # tokens at which a budget may be slower than full length; runtimes pad to 16
# Standard error of a median of normally distributed values, in interquartile ranges: 1.253 / 1.349, divided by sqrt(n)
MEDIAN_ERROR = 0.929


class BudgetEvaluator:
    """Scores and times budgets of one model. `None` as a length configuration is full length.

    Args:
        model: a length-adaptive model.
        evaluators (`dict[str, Evaluator]`): the task's evaluators: `search`, of the examples that score a configuration in
            the search; `confirm`, of further examples of the validation split; `training`, of the training split; and
            `test`, of the test examples if there are any.
        cost (`str`): `latency` or `macs`, see [`SearchArguments`].
        latency_samples (`int`): inputs that are timed.
        batch_size (`int`, *optional*, defaults to 1): copies of an input in a timed call. Latencies are those of an input.
    """

    def __init__(self, model, evaluators: dict, cost: str, latency_samples: int, batch_size: int = 1):
        self.model, self.evaluators, self.cost = model, evaluators, cost
        self.lengths = evaluators[CONFIRM].lengths
        self.timed, self.batch_size = evaluators[CONFIRM].timed_inputs(latency_samples, batch_size), batch_size
        self._scores: dict[tuple, np.ndarray] = {}  # (sample, length configuration) -> scores

    def score_and_cost(self, length_config: Sequence) -> tuple[float, float]:
        """Score on the examples of the search, and cost as a share of full length's."""
        score = float(self.scores(SEARCH, length_config).mean())
        if self.cost == "macs":
            return score, self.macs(length_config) / self.macs(None)
        # Full length is timed next to the configuration: a disturbance affects both alike
        full, own = self.latencies([None, length_config], SEARCH_TURNS)
        return score, own / full

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
            scores = self.evaluators[sample].per_example(self.model, budget=_budget(length_config))
            self._scores[key] = np.asarray(scores, dtype=float)
        return self._scores[key]

    def set_min_tokens_to_drop(self, min_tokens: int) -> None:
        """Changes the model's `min_tokens_to_drop`, after which all scores are computed again."""
        self.model.config.min_tokens_to_drop = min_tokens
        self._scores.clear()

    def macs(self, length_config: Sequence | None) -> float:
        """Multiply-accumulates of an input, mean over the examples that confirm the results."""
        budget = SubNetwork.parse(self.model.config, _budget(length_config))
        return sum(count_macs(self.model.config, budget, length) for length in self.lengths) / len(self.lengths)

    def latencies(self, length_configs: Sequence, turns: int) -> list[float]:
        """Milliseconds of an input without padding, mean over the timed calls, all of them measured in turns."""

        def call(budget) -> None:
            for inputs in self.timed:
                run_model(self.model, inputs, budget=budget)

        latencies = time_in_turns(call, [_budget(length_config) for length_config in length_configs], turns)
        return [latency.median_ms / len(self.timed) / self.batch_size for latency in latencies]

    def measure(self, length_configs: Sequence[Sequence]) -> list[Budget]:
        """Returns full length, then the length configurations, measured on the examples that confirm the results."""
        length_configs = [None, *length_configs]
        latencies = self.latencies(length_configs, REPORT_TURNS)
        full_scores = self.scores(CONFIRM, None)
        budgets = []
        for length_config, latency in zip(tqdm(length_configs, desc="Confirm", unit="config"), latencies, strict=True):
            scores = self.scores(CONFIRM, length_config)
            budget = Budget(
                name=FULL if length_config is None else "found",
                length_config=length_config,
                score=float(scores.mean()),
                macs=self.macs(length_config),
                latency_ms=latency,
                tokens=round(sum(self.lengths) / len(self.lengths)),
                batch_size=self.batch_size,
                machine=machine_name(threads_of(self.model)),
                runtime=runtime_name(self.model),
                sample=f"{len(scores)} examples of the validation split",
                score_error=None if length_config is None else standard_error(scores, full_scores),
                metric=self.evaluators[CONFIRM].primary_metric,
            )
            budgets.append(budget)
        return budgets

    def test_scores(self, budgets: Mapping[str, Budget]) -> dict[str, float]:
        """Scores of budgets on the test examples, by name; empty if there are no test examples."""
        if TEST not in self.evaluators:
            return {}
        test, scores = self.evaluators[TEST], {}
        for budget in tqdm(budgets.values(), desc="Test", unit="config"):
            key = str(budget.length_config)
            if key not in scores:  # a budget may have several names
                scores[key] = test(self.model, budget=_budget(budget.length_config))[test.primary_metric]
        return {name: scores[str(budget.length_config)] for name, budget in budgets.items()}

    def min_tokens_to_drop(self, length_config: Sequence) -> int:
        """Returns [`fewest_tokens`] of a budget, measured at `SHORT_LENGTHS`, in turns with full length."""
        config = self.model.config
        least, lengths = config.min_tokens_to_drop, [length for length in SHORT_LENGTHS if length <= config.max_tokens]
        inputs = {length: _input_of(self.timed, length) for length in lengths}
        variants = [(length, budget) for length in lengths for budget in (FULL, list(length_config))]
        config.min_tokens_to_drop = 0  # else short inputs keep all tokens at every budget
        try:
            times = time_in_turns(
                lambda variant: run_model(self.model, inputs[variant[0]], budget=variant[1]), variants, REPORT_TURNS
            )
        finally:
            config.min_tokens_to_drop = least
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


def _budget(length_config: Sequence | None) -> list | str:
    return FULL if length_config is None else list(length_config)


def _input_of(timed: Sequence[dict[str, torch.Tensor]], length: int) -> dict[str, torch.Tensor]:
    """A call with inputs of this length: the beginning of a real input, repeated where that is shorter."""
    longest = max(timed, key=lambda inputs: inputs["input_ids"].shape[1])
    repeats = -(-length // longest["input_ids"].shape[1])
    return {name: values.repeat(1, repeats)[:, :length] for name, values in longest.items()}
