# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The Pareto front of measured points: low cost, high score. Plain Python."""

from collections.abc import Sequence


Point = tuple[float, float]  # cost, score


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Returns the indices of the points that no other point dominates, cheapest first. Of equal points the first counts."""
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1], index))
    front = []
    for index in order:
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def cost_at(points: Sequence[Point], score: float) -> float | None:
    """Returns the cost of a score on the front of some points, interpolated linearly between two points."""
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
