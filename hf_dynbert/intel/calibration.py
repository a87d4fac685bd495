# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a quantizer sees: questions of every length at every budget."""

import random

import numpy as np
from datasets import Dataset

from ..length_config import encode_length_config, sample_budget
from ..question_answering.features import encode_windows
from .export import DIAL


def calibration_inputs(config, tokenizer, data: Dataset, samples: int, max_length: int, stride: int, seed: int = 0) -> list:
    """Inputs of a graph whose length configuration is an input, see `dial_to_input`.

    Args:
        config (`DynamicTinyBertConfig`): of the model. A third of the samples keeps all tokens, a third has the model's own
            budgets in turn, a third sampled ones, down to a third of the operations.
        tokenizer (`PreTrainedTokenizerFast`): of the model.
        data (`datasets.Dataset`): SQuAD-shaped questions; never those that the model is evaluated on.
        samples (`int`): how many, drawn by `seed`, of every length that there is.
        max_length, stride (`int`): windows, see `encode_windows`.

    Returns:
        `list[dict[str, numpy.ndarray]]`: one window each, unpadded.
    """
    rng = random.Random(seed)
    rows = data.select(sorted(rng.sample(range(len(data)), min(samples, len(data)))))
    windows = encode_windows(tokenizer, rows["question"], rows["context"], max_length, stride)
    named = list((config.budgets or {}).values()) or [None]
    inputs = []
    for index, window in enumerate(rng.sample(windows, min(samples, len(windows)))):
        drawn = (None, named[index // 3 % len(named)], sample_budget(rng, config, 1 / 3))[index % 3]
        sample = {name: np.array([ids], dtype=np.int64) for name, ids in window.inputs.items()}
        encoded = encode_length_config(drawn, config.num_hidden_layers)
        inputs.append(sample | {DIAL: np.array(encoded, dtype=np.int32)})
    return inputs
