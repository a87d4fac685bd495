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
