# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Evolutionary search as the Length-Adaptive Transformer's (arXiv 2010.07003, section 3.3), as a sampler of Optuna."""

import random
from collections.abc import Sequence

from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from .pareto import by_rank_and_gap
from .space import LengthSpace


POPULATION = 20  # as published
# of each gene; published is 0.5, here a mutation is one of three kinds of child and may be small
MUTATION_PROBABILITY = 0.25
TRIES = 100  # children that were measured before: then the search may measure one of them again, and so always ends


class EvolutionarySampler(BaseSampler):
    """Proposes length configurations: first spread ones, then children of the best.

    A child is a mutation (each gene, with probability 0.25, drawn between its neighbours or made equal to one), a crossover
    (the mean of two parents), or, beyond the paper, one layer's drop made larger or smaller with all behind it. Parents
    are the measured points nearest to the Pareto front, those in its gaps first. What is drawn depends on the seed and on
    the points that are there, so a search that was killed goes on as if it had not been.

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
        fresh = [genes for genes in self.space.first(self.population) if tuple(genes) not in seen]
        if fresh and (len(seen) < self.population or len(measured) < 2):
            return fresh[0]
        parents = self._parents(measured)
        for _ in range(TRIES):
            one, other = _pick(rng, parents), _pick(rng, parents)
            kind = rng.randrange(3)
            child = self._mutated(rng, one) if kind == 0 else self._moved(rng, one) if kind == 1 else _mean(one, other)
            if tuple(child) not in seen:
                return child
        return self._mutated(rng, rng.choice(parents))

    def _parents(self, measured: list) -> list[tuple[int, ...]]:
        """The best, in order."""
        points = [(trial.values[0], trial.values[1]) for trial in measured]
        order = sorted(range(len(points)), key=by_rank_and_gap(points))
        return [genes_of(measured[index].params, self.space) for index in order[: self.population]]

    def _mutated(self, rng: random.Random, genes) -> list[int]:
        child = list(genes)
        for place in range(len(child)):
            if rng.random() < MUTATION_PROBABILITY:
                above = child[place - 1] if place else self.space.highest
                below = min(child[place + 1] if place + 1 < len(child) else self.space.lowest, above)
                # A third of the time no drop here, or the next layer's too: few large drops can beat many small ones
                child[place] = rng.choice([above, below, rng.randint(below, above)])
        return child

    def _moved(self, rng: random.Random, genes) -> list[int]:
        """One layer drops more or less than before; those behind it keep their ratios."""
        place = rng.randrange(len(genes))
        above = genes[place - 1] if place else self.space.highest
        value = rng.randint(self.space.lowest, above)
        tail = [max(self.space.lowest, round(gene * value / genes[place])) for gene in genes[place:]]
        return [*genes[:place], *tail]


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
