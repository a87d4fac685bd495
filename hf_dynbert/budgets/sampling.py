# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Length configurations by rule, by cost and by chance, and as a person types them. Plain Python, no tensor library."""

import random
from collections.abc import Sequence
from contextlib import suppress

from ..subnetwork import SubNetwork, dropping_layers
from .model_budgets import count_macs


NOMINAL_LENGTH = 160  # tokens for which shares are fitted to a cost: about the mean of SQuAD questions with their paragraphs
MIN_SHARE = 0.08  # about 13 of the 160: below it a SQuAD paragraph keeps fewer tokens than its question has
SHARE_DIGITS = 4  # decimals of such a share


def constant_drop(num_layers: int, ratio: float, layers: Sequence[int]) -> list[float]:
    """Returns the shares with which each of `layers` drops the same ratio, from 0 to 1, of the tokens that reach it."""
    entries, left = [], 1.0
    for layer in range(num_layers):
        if layer in layers:
            left = round(left * (1 - ratio), SHARE_DIGITS)
        entries.append(left)
    return entries


def sample_length_config(rng: random.Random, num_layers: int, bound: float, layers: Sequence[int]) -> list[float]:
    """Draws shares as LengthDrop training does (arXiv 2010.07003, section 3.2).

    In each of `layers` the share is drawn uniformly between what is left and `1 - bound` of it.
    """
    entries, left = [], 1.0
    for layer in range(num_layers):
        if layer in layers:
            lowest = round(left * (1 - bound), SHARE_DIGITS)
            left = round(rng.uniform(lowest, left), SHARE_DIGITS)
        entries.append(left)
    return entries


def fit_length_config(config, macs_ratio: float, layers: Sequence[int] | dict[int, float]) -> list[float]:
    """Finds the shares that cost a given part of the full model's operations when only some layers drop.

    Args:
        config (`PreTrainedConfig`): as for `count_macs`.
        macs_ratio (`float`): wanted part of the full model's operations, in (0, 1].
        layers (`list[int]` or `dict[int, float]`): the layers that drop, from 0; each drops the same ratio of what reaches
            it, or, with a dict, drops weighted so (weights are shares of the logarithm of the whole drop).

    Returns:
        `list[float]`: the length configuration. Where even dropping almost all tokens in these layers costs more than
        wanted, the cheapest there is.

    Raises:
        ValueError: a ratio out of (0, 1], no layer, or a layer that the model does not have.
    """
    weights = layers if isinstance(layers, dict) else dict.fromkeys(layers, 1.0)
    if not 0 < macs_ratio <= 1:
        raise ValueError(f"macs_ratio is {macs_ratio}; valid are numbers in (0, 1], for example 0.5.")
    if not weights or min(weights) < 0 or max(weights) >= config.num_hidden_layers:
        raise ValueError(f"layers are {sorted(weights)}; valid are some of 0 to {config.num_hidden_layers - 1}.")
    full = count_macs(config, None, NOMINAL_LENGTH)
    low, high = MIN_SHARE, 1.0
    for _ in range(30):  # bisection of the last share down to 1e-9, finer than a share's unit
        middle = (low + high) / 2
        cost = count_macs(config, _split_drop(config.num_hidden_layers, weights, middle), NOMINAL_LENGTH)
        low, high = (low, middle) if cost > macs_ratio * full else (middle, high)
    return _split_drop(config.num_hidden_layers, weights, low)


def sample_subnetwork(rng: random.Random, config, smallest: float, largest: float = 1.0) -> SubNetwork:
    """Draws a sub-network: which layers drop tokens, see `sample_placement`, and its cost, evenly from smallest to largest.

    LengthDrop's own sampling (`sample_length_config`) never drops much in one layer, but few large drops can cost less time
    than many small ones. A model that is to serve both must have seen both.
    """
    macs_ratio = rng.uniform(smallest, largest)
    return SubNetwork(fit_length_config(config, macs_ratio, sample_placement(rng, dropping_layers(config))))


def sample_placement(rng: random.Random, layers: Sequence[int]) -> dict[int, float]:
    """Draws which of these layers drop, with weights for `fit_length_config`: every other time all of them."""
    number = len(layers) if rng.random() < 0.5 else rng.randint(1, len(layers))
    return {layer: rng.gammavariate(2.0, 0.5) for layer in sorted(rng.sample(layers, number))}


def parse_length_config(text: str) -> list[int] | list[float] | str:
    """Reads a length configuration as a person types it: `0.9,0.5,0.3`, `(269, 253, 34)`, or a budget's name.

    Args:
        text (`str`): numbers separated by commas, in brackets or not, or a name.

    Returns:
        `list[int]`, `list[float]`, or the name as it came.
    """
    entries = text.strip().strip("()[]").rstrip(",").split(",")
    for number in (int, float):
        with suppress(ValueError):
            return [number(entry) for entry in entries]
    return text.strip()


def _split_drop(num_layers: int, weights: dict[int, float], final: float) -> list[float]:
    """Shares that fall from 1 to `final`, each layer taking its part of the logarithm."""
    total, done, entries = sum(weights.values()), 0.0, []
    for layer in range(num_layers):
        done += weights.get(layer, 0.0)
        entries.append(round(final ** (done / total), SHARE_DIGITS))
    return entries
