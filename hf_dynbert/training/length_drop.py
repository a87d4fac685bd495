# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The sub-networks that LengthDrop trains in one step (arXiv 2010.07003, section 3.2). Plain Python."""

import random

from ..budgets.sampling import constant_drop, fit_length_config, sample_budget, sample_length_config, sample_placement
from ..subnetwork import FULL, SubNetwork, dropping_layers


def sample_sandwich(rng: random.Random, config, args) -> list[SubNetwork]:
    """The passes of one training step by the sandwich rule: the full length, the smallest, and some between.

    Args:
        rng (`random.Random`): source of chance.
        config (`DynamicTinyBertConfig`): configuration of the model.
        args (`DistillationArguments`): `num_sandwich`, `budget_prob`, `always_smallest`, `smallest_macs`, `largest_macs`,
            `layer_dropout_prob`, `preset`.

    Returns:
        `list[SubNetwork]`: the full-length pass, the smallest (with `always_smallest`), and `num_sandwich` others.
    """
    layers, dropping = config.num_hidden_layers, dropping_layers(config)
    if args.length_drop_ratio_bound is None:
        smallest = fit_length_config(config, args.smallest_macs, sample_placement(rng, dropping))
        between = [sample_budget(rng, config, args.smallest_macs, args.largest_macs) for _ in range(args.num_sandwich)]
    else:
        smallest = constant_drop(layers, args.length_drop_ratio_bound, layers=dropping)
        between = [
            sample_length_config(rng, layers, args.length_drop_ratio_bound, layers=dropping)
            for _ in range(args.num_sandwich)
        ]
    passes = [SubNetwork()]
    if args.always_smallest:
        passes.append(SubNetwork(smallest))
    budgets = [name for name in config.budgets or {} if name != FULL]
    named = [config.resolve_budget(name) for name in budgets] if args.budget_prob else []
    for length_config in between:
        use_named = named and rng.random() < args.budget_prob
        passes.append(rng.choice(named) if use_named else SubNetwork(length_config))
    return [_drop_layers(rng, sub_network, layers, args.layer_dropout_prob) for sub_network in passes]


def _drop_layers(rng: random.Random, sub_network: SubNetwork, num_layers: int, dropout: float) -> SubNetwork:
    """LayerDrop, where the sub-network does not select its layers itself."""
    if sub_network.layers is not None:
        return sub_network
    return SubNetwork(sub_network.length_config, sample_layers(rng, num_layers, dropout))


def sample_layers(rng: random.Random, num_layers: int, dropout: float) -> list[int] | None:
    """LayerDrop: each layer is left out with this probability, but at least one layer runs; `None` runs all."""
    if dropout == 0:
        return None
    kept = [layer for layer in range(num_layers) if rng.random() >= dropout]
    return kept or [rng.randrange(num_layers)]
