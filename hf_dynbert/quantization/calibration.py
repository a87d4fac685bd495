# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Calibration inputs of a quantizer: training data of every length, at every budget."""

import random

from datasets import Dataset

from ..budgets.model_budgets import length_configs, named_budgets
from ..budgets.sampling import sample_subnetwork
from ..tasks.base import DataOptions, Task
from ..tasks.inference import check_lengths


SMALLEST = 1 / 3  # of the full model's operations: the smallest sampled length configuration


def calibration_inputs(
    task: Task, config, tokenizer, data: Dataset, options: DataOptions, samples: int, seed: int = 0
) -> list[dict[str, list[int]]]:
    """Draws inputs of a model from training data.

    Args:
        task ([`Task`]): task of the model.
        config (`DynamicTinyBertConfig`): configuration of the model.
        tokenizer (`PreTrainedTokenizerFast`): tokenizer of the model.
        data (`datasets.Dataset`): rows of `task.load`, never those that the model is evaluated on.
        options ([`DataOptions`]): how to tokenize.
        samples (`int`): largest number of inputs.
        seed (`int`, *optional*, defaults to 0): seed of the draw.

    Returns:
        `list[dict[str, list[int]]]`: unpadded inputs, in random order.

    Raises:
        ValueError: inputs that are longer than what the model reads.
    """
    rng = random.Random(seed)
    rows = data.select(sorted(rng.sample(range(len(data)), min(samples, len(data)))))
    inputs = task.inputs(tokenizer, rows, options)
    check_lengths(config, [len(item["input_ids"]) for item in inputs])
    return rng.sample(inputs, min(samples, len(inputs)))


def calibration_calls(config, inputs: list[dict[str, list[int]]], seed: int = 0) -> list:
    """Pairs each input with a length configuration.

    A third of the inputs keeps all tokens, a third has the named budgets in turn, and a third has sampled length
    configurations, down to a third of the operations.
    """
    rng = random.Random(seed)
    everything = [1.0] * config.num_hidden_layers
    lengths = length_configs(config)
    named = [lengths[name] for name in named_budgets(config) if name in lengths] or [everything]
    calls = []
    for index, item in enumerate(inputs):
        kind, turn = index % 3, index // 3
        if kind == 0:
            length_config = everything
        elif kind == 1:
            length_config = named[turn % len(named)]
        else:
            length_config = list(sample_subnetwork(rng, config, SMALLEST).length_config)
        calls.append((item, length_config))
    return calls
