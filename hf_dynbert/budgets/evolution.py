# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Evolutionary search as the Length-Adaptive Transformer's (arXiv 2010.07003, section 3.3), as a sampler of Optuna."""

import random
from collections.abc import Sequence

from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from .pareto import Point, front_ranks
from .space import LengthSpace


POPULATION = 20  # as published
# of each gene; published is 0.5, but smaller steps found a little more of the fronts in tests/test_search.py
MUTATION_PROBABILITY = 0.25
TRIES = 100  # children that were measured before: then the search may measure one of them again, and so always ends


class EvolutionarySampler(BaseSampler):
    """Proposes length configurations: first spread ones, then children of the best.

    A child is a mutation (each gene, with probability 0.25, drawn between its neighbours') or a crossover (the mean of two
    parents). Parents are the measured points nearest to the Pareto front, those in its gaps first. What is drawn depends on
    the seed and on the points that are there, so a search that was killed goes on as if it had not been.

    Args:
        space (`LengthSpace`): what may be proposed.
        seed (`int`): of all that is drawn.
        population (`int`, *optional*, defaults to 20): points that may be parents, and spread ones at the start.
    """

    def __init__(self, space: LengthSpace, seed: int, population: int = POPULATION):
        self.space, self.seed, self.population = space, seed, population

    def infer_relative_search_space(self, study, trial) -> dict[str, IntDistribution]:
        """One whole number for each layer that may drop."""
        return distributions(self.space)

    def sample_relative(self, study, trial, search_space) -> dict[str, int]:
        """The next genes."""
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        others = [other for other in others if other.state != TrialState.FAIL]
        seen = {genes_of(other.params, self.space) for other in others if len(other.params) == len(search_space)}
        rng = random.Random(f"{self.seed}-{len(others)}")
        measured = [other for other in others if other.state == TrialState.COMPLETE]
        return dict(zip(search_space, self._next(rng, seen, measured), strict=True))

    def sample_independent(self, study, trial, param_name, param_distribution):
        """Nothing is drawn by itself."""
        raise ValueError(f"{param_name} is no gene of this search.")

    def _next(self, rng: random.Random, seen: set[tuple[int, ...]], measured: list) -> list[int]:
        fresh = [genes for genes in self.space.spread(self.population) if tuple(genes) not in seen]
        if fresh and (len(seen) < self.population or len(measured) < 2):
            return fresh[0]
        parents = self._parents(measured)
        for _ in range(TRIES):
            one, other = _pick(rng, parents), _pick(rng, parents)
            child = self._mutated(rng, one) if rng.random() < 0.5 else _mean(one, other)
            if tuple(child) not in seen:
                return child
        return self._mutated(rng, rng.choice(parents))

    def _parents(self, measured: list) -> list[tuple[int, ...]]:
        """The best, in order."""
        points = [(trial.values[0], trial.values[1]) for trial in measured]
        order = sorted(range(len(points)), key=_by_rank_and_gap(points))
        return [genes_of(measured[index].params, self.space) for index in order[: self.population]]

    def _mutated(self, rng: random.Random, genes) -> list[int]:
        child = list(genes)
        for place in range(len(child)):
            if rng.random() < MUTATION_PROBABILITY:
                above = child[place - 1] if place else self.space.highest
                below = child[place + 1] if place + 1 < len(child) else self.space.lowest
                child[place] = rng.randint(min(below, above), above)
        return child


def distributions(space: LengthSpace) -> dict[str, IntDistribution]:
    """The space as Optuna has it."""
    return {f"layer_{layer}": IntDistribution(space.lowest, space.highest) for layer in space.layers}


def genes_of(params: dict[str, int], space: LengthSpace) -> tuple[int, ...]:
    """Genes of a trial, in order, made to never increase."""
    return tuple(space.encode(space.decode([params[name] for name in distributions(space)])))


def _mean(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [(mine + theirs + 1) // 2 for mine, theirs in zip(one, other, strict=True)]


def _pick(rng: random.Random, ordered: list):
    """The better of two at random."""
    return ordered[min(rng.randrange(len(ordered)), rng.randrange(len(ordered)))]


def _by_rank_and_gap(points: list[Point]):
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
