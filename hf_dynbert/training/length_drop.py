# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What LengthDrop training samples at each step (arXiv 2010.07003, section 3.2). Plain Python."""

import random
from dataclasses import dataclass

from ..subnetwork import (
    constant_drop,
    dropping_layers,
    fit_length_config,
    sample_budget,
    sample_length_config,
    sample_placement,
)


@dataclass(frozen=True)
class SubModel:
    """One pass of a step.

    Args:
        length_config (`list[float]` or `None`): `None` keeps all tokens.
        layer_config (`list[int]` or `None`): layers that run; `None` runs all.
    """

    length_config: list[float] | None
    layer_config: list[int] | None


def sample_sandwich(rng: random.Random, config, args) -> list[SubModel]:
    """The passes of one training step by the sandwich rule: the full length, the smallest, and some between.

    Args:
        rng (`random.Random`): source of chance.
        config (`DynamicTinyBertConfig`): of the model.
        args (`DistillationArguments`): `length_sampling` and its kin, `num_sandwich`, `budget_prob`, `always_smallest`,
            `layer_dropout_prob`.

    Returns:
        `list[SubModel]`: the full pass, the smallest (with `always_smallest`), and `num_sandwich` others.
    """
    layers, dropping = config.num_hidden_layers, dropping_layers(config)
    if args.length_sampling == "macs":
        smallest = fit_length_config(config, args.smallest_macs, sample_placement(rng, dropping))
        between = [sample_budget(rng, config, args.smallest_macs, args.largest_macs) for _ in range(args.num_sandwich)]
    else:
        smallest = constant_drop(layers, args.length_drop_ratio_bound, layers=dropping)
        between = [
            sample_length_config(rng, layers, args.length_drop_ratio_bound, layers=dropping)
            for _ in range(args.num_sandwich)
        ]
    if args.budget_prob:
        named = list(config.length_configs.values())
        between = [rng.choice(named) if rng.random() < args.budget_prob else length_config for length_config in between]
    return [
        SubModel(length_config, sample_layers(rng, layers, args.layer_dropout_prob))
        for length_config in [None, *([smallest] if args.always_smallest else []), *between]
    ]


def sample_layers(rng: random.Random, num_layers: int, dropout: float) -> list[int] | None:
    """LayerDrop: each layer is left out with this probability, but one always stays; `None` means all run."""
    if dropout == 0:
        return None
    kept = [layer for layer in range(num_layers) if rng.random() >= dropout]
    return kept or [rng.randrange(num_layers)]
