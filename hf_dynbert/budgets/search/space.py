# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The length configurations that a search may try."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ...utils.errors import check_number
from ..sampling import MIN_SHARE


SHARE_DIGITS = 2  # decimals of a share: a hundredth is a token or two of an example, finer than the noise of a measurement


@dataclass(frozen=True)
class LengthSpace:
    """Shares of an example's tokens that never increase, over the layers that may drop tokens.

    A configuration is a point of the unit cube with one coordinate for each dropping layer: the part of what reaches the
    layer, above the smallest share, that the layer keeps. Each point of the cube is valid, so that any optimizer fits.

    Args:
        num_layers (`int`): layers of the model.
        layers (`Sequence[int]`, *optional*): indices of the layers that may drop tokens; all layers by default.
        smallest (`float`, *optional*, defaults to 0.08): smallest share.

    Raises:
        ValueError: the model does not have these layers, or `smallest` is outside (0, 1).
    """

    num_layers: int
    layers: Sequence[int] | None = None
    smallest: float = MIN_SHARE

    def __post_init__(self):
        check_number("smallest", self.smallest, above=0, below=1, example=MIN_SHARE)
        layers = tuple(range(self.num_layers) if self.layers is None else sorted(set(self.layers)))
        if not layers or layers[0] < 0 or layers[-1] >= self.num_layers:
            raise ValueError(f"layers is {self.layers}; valid are some of 0 to {self.num_layers - 1}.")
        object.__setattr__(self, "layers", layers)  # the dataclass is frozen

    def decode(self, point: Sequence[float]) -> list[float]:
        """Returns the length configuration of a point of the unit cube."""
        entries, left = [], 1.0
        for layer in range(self.num_layers):
            if layer in self.layers:
                left = self.smallest + (left - self.smallest) * point[self.layers.index(layer)]
            entries.append(round(left, SHARE_DIGITS))
        return entries

    def encode(self, length_config: Sequence[float]) -> list[float]:
        """Returns the nearest point of a length configuration of shares; drops in other layers are ignored."""
        point, left = [], 1.0
        for layer in self.layers:
            entry = min(max(length_config[layer], self.smallest), left)
            point.append((entry - self.smallest) / (left - self.smallest) if left > self.smallest else 1.0)
            left = entry
        return point

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
        # Level 0 is left out: it keeps the smallest share, whatever the following layers do
        values = [level / levels for level in range(levels, 0, -1)]
        return [list(point) for point in itertools.product(values, repeat=len(self.layers))]
