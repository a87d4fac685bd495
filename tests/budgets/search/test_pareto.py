"""Fronts, ranks and hypervolume against their definitions."""

import random

import pytest

from hf_dynbert.budgets.search.pareto import (
    by_rank_and_gap,
    cost_at,
    dominates,
    front_ranks,
    hypervolume,
    pareto_front,
)


def cloud(seed, size=40):
    rng = random.Random(seed)
    return [(rng.randrange(12) / 4, rng.randrange(12) / 4) for _ in range(size)]  # a grid: many equal costs and scores


@pytest.mark.parametrize("seed", range(8))
def test_front_is_what_nothing_dominates(seed):
    points = cloud(seed)
    front = pareto_front(points)
    wanted = {point for point in points if not any(dominates(other, point) for other in points)}
    assert {points[index] for index in front} == wanted and len(front) == len(wanted)
    costs, scores = zip(*(points[index] for index in front), strict=True)
    assert all(low < high for values in (costs, scores) for low, high in zip(values, values[1:], strict=False))
    assert all(index == points.index(points[index]) for index in front)


@pytest.mark.parametrize("seed", range(4))
def test_ranks_peel_fronts(seed):
    points = cloud(seed)
    ranks, left = front_ranks(points), list(points)
    for rank in range(max(ranks) + 1):
        wanted = {point for point in left if not any(dominates(other, point) for other in left)}
        assert {point for point, at in zip(points, ranks, strict=True) if at == rank} == wanted
        left = [point for point in left if point not in wanted]
    assert not left


def test_cost_at_a_score_lies_on_the_line():
    points = [(1.0, 70.0), (2.0, 74.0), (3.0, 73.0), (4.0, 75.0)]  # the third is beaten
    assert cost_at(points, 60.0) == 1.0 and cost_at(points, 74.0) == 2.0 and cost_at(points, 76.0) is None
    assert cost_at(points, 72.0) == pytest.approx(1.5) and cost_at(points, 74.5) == pytest.approx(3.0)
    assert cost_at([], 1.0) is None


def test_nothing_has_no_front():
    assert pareto_front([]) == [] and front_ranks([]) == [] and hypervolume([], (1.0, 0.0)) == 0


@pytest.mark.parametrize("seed", range(4))
def test_hypervolume_counts_the_grid(seed):
    points, reference = cloud(seed), (2.5, 0.25)
    cells = [(x / 4, y / 4) for x in range(12) for y in range(12)]  # each cell of the grid by its lower left corner
    covered = sum(
        x + 0.25 <= reference[0] and y >= reference[1] and any(cost <= x and score >= y + 0.25 for cost, score in points)
        for x, y in cells
    )
    assert hypervolume(points, reference) == pytest.approx(covered / 16)


def test_order_by_rank_and_gap():
    points = [(1, 1), (2, 2), (2.5, 2.2), (9, 9), (5, 1)]  # the last is beaten; of the front the ends come first, then gaps
    assert sorted(range(5), key=by_rank_and_gap(points)) == [0, 3, 2, 1, 4]
