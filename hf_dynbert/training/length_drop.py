# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The sub-networks that LengthDrop trains in one step (arXiv 2010.07003, section 3.2). Plain Python."""

import dataclasses
import random

from ..budgets.sampling import constant_drop, fit_length_config, sample_length_config, sample_placement, sample_subnetwork
from ..subnetwork import FULL, SubNetwork, dropping_layers


def sample_sandwich(rng: random.Random, config, args) -> list[SubNetwork]:
    """The passes of one step: full length, the smallest with `args.always_smallest`, and `args.num_sandwich` others."""
    layers, dropping, bound = config.num_hidden_layers, dropping_layers(config), args.length_drop_ratio_bound
    if bound is None:
        smallest = SubNetwork(fit_length_config(config, args.smallest_macs, sample_placement(rng, dropping)))
    else:
        smallest = SubNetwork(constant_drop(layers, bound, layers=dropping))
    between = []
    for _ in range(args.num_sandwich):
        if bound is None:
            between.append(sample_subnetwork(rng, config, args.smallest_macs, args.largest_macs))
        else:
            between.append(SubNetwork(sample_length_config(rng, layers, bound, layers=dropping)))
    budgets = [name for name in config.budgets or {} if name != FULL] if args.budget_prob else []
    for index in range(len(between)):
        if budgets and rng.random() < args.budget_prob:
            between[index] = config.resolve_budget(rng.choice(budgets))
    passes = [SubNetwork(), *([smallest] if args.always_smallest else []), *between]
    return [_drop_layers(rng, sub_network, layers, args.layer_dropout_prob) for sub_network in passes]


def _drop_layers(rng: random.Random, sub_network: SubNetwork, num_layers: int, dropout: float) -> SubNetwork:
    """LayerDrop: leaves out each layer with this probability, unless the sub-network names its layers; one layer runs."""
    if dropout == 0 or sub_network.layers is not None:
        return sub_network
    kept = [layer for layer in range(num_layers) if rng.random() >= dropout]
    return dataclasses.replace(sub_network, layers=tuple(kept or [rng.randrange(num_layers)]))
