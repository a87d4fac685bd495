"""The Length-Adaptive Transformer's evolutionary search (arXiv 2010.07003, section 3.3), for compare_searches.py.

docs/search.md compares it with the package's searches. In addition to the paper, a child may have a larger or smaller drop
in one layer, and parents in gaps of the front come first.
"""

import random
from collections.abc import Callable, Sequence

from hf_dynbert.budgets.search.pareto import Point, pareto_front


POPULATION = 20  # as published
MUTATION_PROBABILITY = 0.25  # of each entry; published is 0.5, here a mutation is one of three kinds of children
TRIES = 100  # children that were evaluated before; then a random mutation is taken, so that the search always ends
STEPS = 100  # entries are hundredths of the example's tokens

Genes = tuple[int, ...]


def evolve(
    evaluate: Callable[[list[float]], tuple[float, float]], num_genes: int, smallest: float, num_evaluations: int, seed: int
) -> list[Point]:
    """Searches shares that never increase.

    Args:
        evaluate (`Callable`): takes one share for each dropping layer and returns score and cost.
        num_genes (`int`): number of dropping layers.
        smallest (`float`): smallest share.
        num_evaluations (`int`): number of different shares to evaluate.
        seed (`int`): seed of all draws.

    Returns:
        `list[tuple[float, float]]`: cost and score of each evaluation, in order.
    """
    lowest, rng = round(smallest * STEPS), random.Random(seed)
    points: dict[Genes, Point] = {}
    first = _first_generation(num_genes, lowest)
    while len(points) < num_evaluations:
        unseen = [genes for genes in first if genes not in points]
        genes = unseen[0] if unseen else _child(rng, points, lowest)
        score, cost = evaluate([gene / STEPS for gene in genes])
        points[genes] = (cost, score)
    return list(points.values())


def _first_generation(num_genes: int, lowest: int) -> list[Genes]:
    """Half constant drop ratios whose mean lengths are evenly spread, half single large drops, in each layer in turn."""
    count = POPULATION // 2
    chosen = []
    for index in range(count):
        wanted = STEPS - (STEPS - lowest) * index / (count - 1)
        chosen.append(min((_constant(ratio / 1000, num_genes, lowest) for ratio in range(1000)), key=_distance_to(wanted)))
    for index in range(count):
        keep = 1 - (index // num_genes + 1) / (count // num_genes + 2)
        place = index % num_genes
        chosen.append((STEPS,) * place + (max(lowest, round(keep * STEPS)),) * (num_genes - place))
    return list(dict.fromkeys(chosen))


def _distance_to(wanted: float) -> Callable[[Genes], float]:
    return lambda genes: abs(sum(genes) / len(genes) - wanted)


def _constant(ratio: float, num_genes: int, lowest: int) -> Genes:
    return tuple(max(lowest, round(STEPS * (1 - ratio) ** (place + 1))) for place in range(num_genes))


def _child(rng: random.Random, points: dict[Genes, Point], lowest: int) -> Genes:
    """A mutation, a moved drop, or the mean of two parents, that was not evaluated before."""
    parents = _parents(points)
    for attempt in range(10 * TRIES):
        one, other, kind = _pick(rng, parents), _pick(rng, parents), rng.randrange(3)
        if kind == 0 or attempt >= TRIES:
            child = _mutated(rng, one, lowest)
        elif kind == 1:
            child = _moved(rng, one, lowest)
        else:
            child = tuple((left + right + 1) // 2 for left, right in zip(one, other, strict=True))
        if child not in points:
            return child
    raise RuntimeError("The search found no new shares near its best points.")


def _parents(points: dict[Genes, Point]) -> list[Genes]:
    """The best: front after front (non-dominated sorting), those in the widest gaps of a front first (crowding distance)."""
    left, order = list(points), []
    while left and len(order) < POPULATION:
        front = [left[index] for index in pareto_front([points[genes] for genes in left])]
        order += sorted(front, key=lambda genes: -_gap(genes, front, points))
        left = [genes for genes in left if genes not in front]
    return order[:POPULATION]


def _gap(genes: Genes, front: Sequence[Genes], points: dict[Genes, Point]) -> float:
    place = front.index(genes)
    if place in (0, len(front) - 1):
        return float("inf")
    gap = 0.0
    for axis in (0, 1):
        extent = abs(points[front[-1]][axis] - points[front[0]][axis]) or 1.0
        gap += abs(points[front[place + 1]][axis] - points[front[place - 1]][axis]) / extent
    return gap


def _pick(rng: random.Random, ordered: list[Genes]) -> Genes:
    """The better of two at random."""
    return ordered[min(rng.randrange(len(ordered)), rng.randrange(len(ordered)))]


def _mutated(rng: random.Random, genes: Genes, lowest: int) -> Genes:
    child = list(genes)
    for place in range(len(child)):
        if rng.random() < MUTATION_PROBABILITY:
            above = child[place - 1] if place else STEPS
            below = min(child[place + 1] if place + 1 < len(child) else lowest, above)
            child[place] = rng.choice([above, below, rng.randint(below, above)])
    for place in range(1, len(child)):
        child[place] = min(child[place], child[place - 1])
    return tuple(child)


def _moved(rng: random.Random, genes: Genes, lowest: int) -> Genes:
    """One layer drops more or less than before; the layers behind it keep their ratios."""
    place = rng.randrange(len(genes))
    value = rng.randint(lowest, genes[place - 1] if place else STEPS)
    return genes[:place] + tuple(max(lowest, round(gene * value / genes[place])) for gene in genes[place:])
