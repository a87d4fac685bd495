"""Scores, bounds and latencies of budgets; the model's time is spent by sleeping."""

import statistics
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hf_dynbert import DynamicTinyBertConfig
from hf_dynbert.budgets.latency import Latency
from hf_dynbert.budgets.search.evaluator import BudgetEvaluator, fewest_tokens


MILLISECOND = 1e-3


class GivenScores:
    """An evaluator whose scores are given: of full length, and of everything else."""

    primary_metric = "f1"

    def __init__(self, full, other, lengths=(40, 80)):
        self.full, self.other, self.lengths, self.calls = full, other, list(lengths), []

    def __call__(self, model, budget=None):
        return {"f1": float(self.per_example(model, budget).mean())}

    def per_example(self, model, budget=None):
        self.calls.append(budget)
        return np.array(self.full if budget == "full" else self.other)

    def timed_inputs(self, n, batch_size):
        return [{"input_ids": torch.ones(batch_size, length, dtype=torch.long)} for length in self.lengths[:n]]


class SleepingModel:
    """A model whose calls take a time that a function gives: of its tokens and of the budget."""

    def __init__(self, milliseconds):
        self.config = DynamicTinyBertConfig(num_hidden_layers=4, hidden_size=32, intermediate_size=64, min_tokens_to_drop=0)
        self.milliseconds, self.runtime_name, self.threads = milliseconds, "sleeping", 1
        self.device = torch.device("cpu")

    def __call__(self, input_ids, budget=None):
        time.sleep(MILLISECOND * self.milliseconds(input_ids.shape[1], budget))
        return SimpleNamespace()


def make_evaluator(model, cost="latency", full=(90.0, 90.0), other=(85.0, 85.0), training=None):
    evaluators = {"search": GivenScores(full, other), "confirm": GivenScores(full, other)}
    evaluators["training"] = training or GivenScores(full, other)
    return BudgetEvaluator(model, evaluators, cost, latency_samples=2)


def test_retained_is_a_lower_bound_in_points_of_training():
    training = GivenScores([90.0, 90.0, 90.0, 90.0], [90.0, 90.0, 90.0, 88.0])
    evaluator = make_evaluator(SleepingModel(lambda tokens, budget: 0), full=(50.0,), other=(49.0,), training=training)
    error = statistics.stdev([0.0, 0.0, 0.0, 2.0]) / 2  # of the mean of four losses
    assert evaluator.retained([0.5] * 4) == pytest.approx(1 - (0.5 + 1.645 * error) / 50)


def test_scores_are_computed_once():
    evaluator = make_evaluator(SleepingModel(lambda tokens, budget: 0), cost="macs")
    for _ in range(3):
        assert evaluator.score_and_cost([0.5] * 4)[0] == 85.0
        assert evaluator.scores("search", None).mean() == 90.0
    assert evaluator.evaluators["search"].calls == [[0.5] * 4, "full"]


def test_cost_is_a_share_of_full_length():
    evaluator = make_evaluator(SleepingModel(lambda tokens, budget: 20 if budget == "full" else 2))
    assert evaluator.score_and_cost([0.5] * 4)[1] < 0.8  # a busy machine makes sleeps longer
    macs = make_evaluator(SleepingModel(lambda tokens, budget: 0), cost="macs").score_and_cost([0.5] * 4)[1]
    assert 0.3 < macs < 0.7


def test_full_length_is_measured_first():
    evaluator = make_evaluator(SleepingModel(lambda tokens, budget: 10 if budget == "full" else 1))
    budgets = evaluator.measure([[0.5] * 4, [0.9] * 4])
    assert [budget.length_config for budget in budgets] == [None, [0.5] * 4, [0.9] * 4]
    full, found, _ = budgets
    assert full.name == "full"
    assert full.score == 90.0 and full.score_error is None and found.score == 85.0 and found.score_error == 0.0
    assert full.tokens == 60 and found.latency_ms < full.latency_ms and found.runtime == "sleeping"


LENGTHS = (16, 32, 48, 64, 96, 128)


@pytest.mark.parametrize(
    ("budget_ms", "expected"),
    [
        ((1, 1, 1, 1, 1, 1), 0),
        ((3, 1, 1, 1, 1, 1), 32),
        ((3, 3, 1, 1, 1, 1), 48),
        ((1, 3, 1, 3, 1, 1), 96),  # what holds is the longest length at which the budget is not faster
        ((3, 3, 3, 3, 3, 1), 128),
        ((1, 1, 1, 1, 1, 3), 129),
        ((2, 2, 2, 2, 2, 2), 129),  # equal is not faster
        ((1.99, 1.99, 1, 1, 1, 1), 48),  # nor is a difference within the noise
    ],
)
def test_fewest_tokens_is_where_the_budget_becomes_faster(budget_ms, expected):
    full = [Latency(2.0, 2.5, 0.1) for _ in LENGTHS]
    budget = [Latency(median, 1.1 * median, 0.1) for median in budget_ms]
    assert fewest_tokens(LENGTHS, full, budget) == expected


def test_noise_makes_a_small_gain_worthless():
    for spread, expected in ((0.01, 0), (2.0, 129)):
        full = [Latency(2.0, 2.5, spread) for _ in LENGTHS]
        assert fewest_tokens(LENGTHS, full, [Latency(1.8, 2.5, spread) for _ in LENGTHS]) == expected


def test_measuring_leaves_the_present_value():
    model = SleepingModel(lambda tokens, budget: 1.0 if budget == "full" else 3.0)
    model.config.min_tokens_to_drop = 7
    assert make_evaluator(model).min_tokens_to_drop([0.5] * 4) == 129 and model.config.min_tokens_to_drop == 7


def test_min_tokens_stays_within_what_the_model_reads():
    model = SleepingModel(lambda tokens, budget: 2.0 if budget == "full" else 3.0)
    model.config = DynamicTinyBertConfig(num_hidden_layers=4, max_position_embeddings=64, min_tokens_to_drop=0)
    assert make_evaluator(model).min_tokens_to_drop([0.5] * 4) == 65
