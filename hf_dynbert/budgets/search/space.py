# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""All length configurations that a search may try, as genes: one whole number for each layer that may drop."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from ...subnetwork import MIN_SHARE, MIN_TOKENS, constant_drop


STEPS = 100  # a share counts in hundredths: a token or two of an example, finer than the noise of any measurement


@dataclass(frozen=True)
class LengthSpace:
    """Length configurations that never increase, over the layers that may drop.

    Args:
        num_layers (`int`): layers of the model.
        layers (`tuple[int]`): layers that may drop, from 0, rising.
        lowest, highest (`int`): least and most that a gene may be: hundredths of the example's tokens, or tokens.
        relative (`bool`): which of the two.
        everything (`int`, *optional*): what stands for all tokens before the first layer that may drop; `highest` when not
            given.
    """

    num_layers: int
    layers: tuple[int, ...]
    lowest: int
    highest: int
    relative: bool
    everything: int | None = None

    @classmethod
    def shares(cls, num_layers: int, layers: Sequence[int] | None = None, smallest: float = MIN_SHARE) -> "LengthSpace":
        """Shares of the example's own tokens, down to `smallest`: one configuration serves inputs of every length.

        Raises:
            ValueError: layers that are not there, or a share out of (0, 1).
        """
        if not 0 < smallest < 1:
            raise ValueError(f"smallest is {smallest}; valid are shares between 0 and 1, for example {MIN_SHARE}.")
        return cls(num_layers, _checked(layers, num_layers), max(1, round(smallest * STEPS)), STEPS, True)

    @classmethod
    def tokens(
        cls,
        num_layers: int,
        longest: int,
        layers: Sequence[int] | None = None,
        fewest: int = MIN_TOKENS,
        positions: int | None = None,
    ) -> "LengthSpace":
        """Token counts from `longest` down to `fewest`, as the papers have them (Dynamic-TinyBERT: 384 down to 91).

        `positions` are the model's most: before the first layer that may drop nothing less is all tokens.

        Raises:
            ValueError: layers that are not there, or bounds that leave nothing.
        """
        if not MIN_TOKENS <= fewest < longest:
            raise ValueError(f"fewest is {fewest}, longest {longest}; valid are {MIN_TOKENS} <= fewest < longest.")
        return cls(num_layers, _checked(layers, num_layers), fewest, longest, False, positions)

    def decode(self, genes: Sequence[int]) -> list[int] | list[float]:
        """The length configuration of some genes: a dropped token does not come back, so each is at most the one before."""
        left, whole = dict(zip(self.layers, genes, strict=True)), self.everything or self.highest
        kept = (min(left[layer], self.highest) if layer in left else whole for layer in range(self.num_layers))
        entries = accumulate(kept, min)
        return [entry / STEPS for entry in entries] if self.relative else list(entries)

    def encode(self, length_config: Sequence[int | float]) -> list[int]:
        """The nearest genes of a length configuration of the same kind; those of other layers are left out."""
        entries = [round(length_config[layer] * STEPS) if self.relative else length_config[layer] for layer in self.layers]
        return [min(self.highest, max(self.lowest, entry)) for entry in accumulate(entries, min)]

    def constant(self, ratio: float) -> list[int]:
        """The genes that drop the same ratio in each layer (arXiv 2010.07003, section 3.2)."""
        return self.encode(constant_drop(self.num_layers, ratio, None if self.relative else self.highest, self.layers))

    def first(self, count: int) -> list[list[int]]:
        """Genes to begin a search with: half of them spread (see below), half with one large drop, in each layer in turn.

        Args:
            count (`int`): how many; 4 or more.
        """
        one = count // 2
        shares = [1 - (index // len(self.layers) + 1) / (one // len(self.layers) + 2) for index in range(one)]
        drops = [max(self.lowest, round(share * self.highest)) for share in shares]
        places = [index % len(self.layers) for index in range(one)]
        single = [
            [self.highest] * place + [drop] * (len(self.layers) - place) for place, drop in zip(places, drops, strict=True)
        ]
        return [*self.spread(count - one), *single]

    def spread(self, count: int) -> list[list[int]]:
        """Genes of constant ratio whose mean lengths are evenly spread from all tokens to the fewest, whatever the depth.

        Args:
            count (`int`): how many; 2 or more.

        Returns:
            `list[list[int]]`: the first keeps all tokens.
        """
        most = len(self.layers) * self.highest
        ratios = [index / 1000 for index in range(1000)]  # a thousandth is finer than a gene's step
        means = [(sum(self.constant(ratio)) / most, ratio) for ratio in ratios]
        least = means[-1][0]
        wanted = [1 - (1 - least) * index / (count - 1) for index in range(count)]
        return [self.constant(min(means, key=lambda pair: abs(pair[0] - mean))[1]) for mean in wanted]


def _checked(layers: Sequence[int] | None, num_layers: int) -> tuple[int, ...]:
    chosen = tuple(range(num_layers) if layers is None else sorted(set(layers)))
    if not chosen or chosen[0] < 0 or chosen[-1] >= num_layers:
        raise ValueError(f"layers is {layers}; valid are some of 0 to {num_layers - 1}.")
    return chosen
