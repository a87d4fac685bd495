"""The front of measured points against its definition."""

import random

import pytest

from hf_dynbert.budgets.search.pareto import pareto_front


def cloud(seed, size=40):
    rng = random.Random(seed)
    return [(rng.randrange(12) / 4, rng.randrange(12) / 4) for _ in range(size)]  # a grid: many equal costs and scores


def dominates(one, other):
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@pytest.mark.parametrize("seed", range(8))
def test_no_point_dominates_a_point_of_the_front(seed):
    points = cloud(seed)
    front = pareto_front(points)
    wanted = {point for point in points if not any(dominates(other, point) for other in points)}
    assert {points[index] for index in front} == wanted and len(front) == len(wanted)
    costs, scores = zip(*(points[index] for index in front), strict=True)
    assert all(low < high for values in (costs, scores) for low, high in zip(values, values[1:], strict=False))
    assert all(index == points.index(points[index]) for index in front)


def test_no_points_have_no_front():
    assert pareto_front([]) == []
