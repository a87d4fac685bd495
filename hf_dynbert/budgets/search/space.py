# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The length configurations that a search may try."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ...subnetwork import MIN_TOKENS
from ..sampling import MIN_SHARE, constant_drop


SHARE_DIGITS = 2  # decimals of a share: a hundredth is a token or two of an example, finer than the noise of a measurement


@dataclass(frozen=True)
class LengthSpace:
    """Length configurations that never increase, over the layers that may drop tokens.

    A configuration is a point of the unit cube with one coordinate for each dropping layer: the part of what reaches the
    layer, above the smallest length, that the layer keeps. Each point of the cube is valid, so that any optimizer fits.

    Args:
        num_layers (`int`): layers of the model.
        layers (`tuple[int]`): indices of the layers that may drop tokens, increasing.
        smallest, largest (`int` or `float`): bounds of an entry, as token counts, or as shares of the example's tokens.
        whole (`int` or `float`): entry of the layers in front of the first layer that may drop, which keeps all tokens.
    """

    num_layers: int
    layers: tuple[int, ...]
    smallest: int | float
    largest: int | float
    whole: int | float

    @classmethod
    def shares(cls, num_layers: int, layers: Sequence[int] | None = None, smallest: float = MIN_SHARE) -> "LengthSpace":
        """Shares of the example's own tokens, from 1 to `smallest`: one configuration serves inputs of every length.

        Raises:
            ValueError: the model does not have these layers, or `smallest` is outside (0, 1).
        """
        if not 0 < smallest < 1:
            raise ValueError(f"smallest is {smallest}; valid are shares between 0 and 1, for example {MIN_SHARE}.")
        return cls(num_layers, _checked(layers, num_layers), smallest, 1.0, 1.0)

    @classmethod
    def tokens(
        cls,
        num_layers: int,
        longest: int,
        layers: Sequence[int] | None = None,
        fewest: int = MIN_TOKENS,
        positions: int | None = None,
    ) -> "LengthSpace":
        """Token counts from `longest` to `fewest`, as in Dynamic-TinyBERT (arXiv 2111.09645: from 384 to 91).

        Args:
            num_layers, layers: see [`LengthSpace`].
            longest, fewest (`int`): bounds of a count.
            positions (`int`, *optional*): largest number of tokens of an input: the entry of layers that cannot drop.

        Raises:
            ValueError: the model does not have these layers, or the bounds leave no configuration.
        """
        if not MIN_TOKENS <= fewest < longest:
            raise ValueError(f"fewest is {fewest}, longest {longest}; valid are {MIN_TOKENS} <= fewest < longest.")
        return cls(num_layers, _checked(layers, num_layers), fewest, longest, positions or longest)

    @property
    def relative(self) -> bool:
        """Whether entries are shares rather than token counts."""
        return isinstance(self.largest, float)

    def decode(self, point: Sequence[float]) -> list[int] | list[float]:
        """Returns the length configuration of a point of the unit cube."""
        entries, entry, left = [], self.whole, self.largest
        for layer in range(self.num_layers):
            if layer in self.layers:
                left = self.smallest + (left - self.smallest) * point[self.layers.index(layer)]
                entry = round(left, SHARE_DIGITS) if self.relative else round(left)
            entries.append(entry)
        return entries

    def encode(self, length_config: Sequence[int | float]) -> list[float]:
        """Returns the nearest point of a length configuration of the same kind; drops in other layers are ignored."""
        point, left = [], self.largest
        for layer in self.layers:
            entry = min(max(length_config[layer], self.smallest), left)
            point.append((entry - self.smallest) / (left - self.smallest) if left > self.smallest else 1.0)
            left = entry
        return point

    def constant(self, ratio: float) -> list[int] | list[float]:
        """Returns the length configuration whose layers all drop the same ratio (arXiv 2010.07003, section 3.2)."""
        tokens = None if self.relative else self.largest
        return self.decode(self.encode(constant_drop(self.num_layers, ratio, tokens, self.layers)))

    def grid(self, num_points: int) -> list[list[float]]:
        """Returns at most `num_points` points on a regular grid, from all tokens downwards.

        Args:
            num_points (`int`): largest size. Each layer has as many levels as fit: 144 gives 12 x 12 for two layers.

        Raises:
            ValueError: not even two levels for each layer fit.
        """
        levels = 1
        while (levels + 1) ** len(self.layers) <= num_points:
            levels += 1
        if levels < 2:
            raise ValueError(
                f"A grid over {len(self.layers)} layers has at least {2 ** len(self.layers)} points, num_evaluations is "
                f"{num_points}. Give more, or method='tpe'."
            )
        # Level 0 is left out: it keeps the smallest length, whatever the following layers do
        values = [level / levels for level in range(levels, 0, -1)]
        return [list(point) for point in itertools.product(values, repeat=len(self.layers))]


def _checked(layers: Sequence[int] | None, num_layers: int) -> tuple[int, ...]:
    chosen = tuple(range(num_layers) if layers is None else sorted(set(layers)))
    if not chosen or chosen[0] < 0 or chosen[-1] >= num_layers:
        raise ValueError(f"layers is {layers}; valid are some of 0 to {num_layers - 1}.")
    return chosen
