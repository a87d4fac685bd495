# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What is worth keeping of many measured points: low cost, high score. Plain Python."""

from collections.abc import Callable, Sequence


Point = tuple[float, float]  # cost, score


def dominates(one: Point, other: Point) -> bool:
    """Whether a point costs no more, scores no less, and is not the same."""
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def pareto_front(points: Sequence[Point]) -> list[int]:
    """The points that no other dominates.

    Args:
        points (`list[tuple[float, float]]`): cost and score of each.

    Returns:
        `list[int]`: their places, cheapest first; cost and score rise strictly. Of equal points the first.
    """
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1], index))
    front = []
    for index in order:
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def cost_at(points: Sequence[Point], score: float) -> float | None:
    """What a score costs on the front of some points: between two of them, on the line through them.

    Args:
        points (`list[tuple[float, float]]`): cost and score of each.
        score (`float`): what is wanted.

    Returns:
        `float` or `None`: the least cost; `None` where no point scores so high. Below the cheapest point its cost.
    """
    before = None
    for index in pareto_front(points):
        cost, reached = points[index]
        if reached >= score:
            if before is None:
                return cost
            part = (score - before[1]) / (reached - before[1])
            return before[0] + part * (cost - before[0])
        before = points[index]
    return None


def front_ranks(points: Sequence[Point]) -> list[int]:
    """How many fronts must be taken away before a point is on one (non-dominated sorting; NSGA-II, IEEE TEVC 6(2), 2002).

    Args:
        points (`list[tuple[float, float]]`): cost and score of each.

    Returns:
        `list[int]`: 0 for those on the front. Equal points have equal ranks.
    """
    ranks, left, rank = {}, sorted(set(points)), 0
    while left:
        on_front = {left[index] for index in pareto_front(left)}
        ranks |= dict.fromkeys(on_front, rank)
        left = [point for point in left if point not in on_front]
        rank += 1
    return [ranks[point] for point in points]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The area that points dominate, up to a cost that is too high and down to a score that is too low.

    Args:
        points (`list[tuple[float, float]]`): cost and score of each.
        reference (`tuple[float, float]`): the worst cost and the worst score; what is no better counts nothing.

    Returns:
        `float`: in units of cost times score.
    """
    worst_cost, worst_score = reference
    inside = [point for point in points if point[0] < worst_cost and point[1] > worst_score]
    front = [inside[index] for index in pareto_front(inside)]
    ends = [cost for cost, _ in [*front[1:], reference]]
    return sum((end - cost) * (score - worst_score) for (cost, score), end in zip(front, ends, strict=False))


def by_rank_and_gap(points: Sequence[Point]) -> Callable[[int], tuple]:
    """A sorting key: nearest to the front first, there those with the widest gap around them (crowding distance)."""
    ranks, gaps = front_ranks(points), [0.0] * len(points)
    for rank in set(ranks):
        members = sorted((index for index, at in enumerate(ranks) if at == rank), key=lambda index: points[index])
        for axis in (0, 1):
            values = [points[index][axis] for index in members]
            extent = max(values) - min(values) or 1.0
            for place, index in enumerate(members):
                ends = place in (0, len(members) - 1)
                gaps[index] += float("inf") if ends else abs(values[place + 1] - values[place - 1]) / extent
    return lambda index: (ranks[index], -gaps[index], points[index])
