# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The calls that calibrate a quantizer: inputs of every length at every budget."""

import random
from collections.abc import Sequence

from ..subnetwork import FULL, sample_budget
from ..tasks.question_answering.features import check_lengths


SMALLEST_MACS = 1 / 3  # the smallest share of the operations among sampled budgets; the recipes name none below it


def calibration_calls(config, inputs: Sequence[dict], samples: int, seed: int = 0) -> list[tuple[dict, list]]:
    """Inputs with the length configuration of each call.

    A third of the calls keeps all tokens, a third has the named budgets of the model in turn, a third has sampled budgets.

    Args:
        config (`DynamicTinyBertConfig`): configuration of the model.
        inputs (`list[dict[str, list[int]]]`): unpadded inputs of the training split; see [`Task.inputs`].
        samples (`int`): number of calls; fewer if there are fewer inputs.
        seed (`int`, *optional*, defaults to 0): seed of the choice.

    Returns:
        `list[tuple[dict[str, list[int]], list]]`: one input each, and its length configuration.

    Raises:
        ValueError: no inputs, or an input that is longer than the model reads.
    """
    if not inputs:
        raise ValueError("There is nothing to calibrate with: the data set is empty.")
    rng = random.Random(seed)
    chosen = rng.sample(list(inputs), min(samples, len(inputs)))
    check_lengths(config, [len(item["input_ids"]) for item in chosen])
    everything = [1.0] * config.num_hidden_layers
    named = [config.length_configs[name] for name in config.named_budgets if name != FULL] or [everything]
    calls = []
    for index, item in enumerate(chosen):
        kind, turn = index % 3, index // 3
        if kind == 0:
            length_config = everything
        elif kind == 1:
            length_config = named[turn % len(named)]
        else:
            length_config = sample_budget(rng, config, SMALLEST_MACS)
        calls.append((item, length_config))
    return calls
