# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a quantizer sees: questions of every length at every budget."""

import random

from datasets import Dataset

from ..budgets.sampling import sample_budget
from ..configuration_dynamic_tinybert import FULL
from ..tasks.question_answering.features import check_lengths, encode_windows


def calibration_calls(config, tokenizer, data: Dataset, samples: int, max_length: int, stride: int, seed: int = 0) -> list:
    """What to call a model with.

    Args:
        config (`DynamicTinyBertConfig`): of the model. A third of the samples keeps all tokens, a third has the model's own
            budgets in turn, a third sampled ones, down to a third of the operations.
        tokenizer (`PreTrainedTokenizerFast`): of the model.
        data (`datasets.Dataset`): SQuAD-shaped questions; never those that the model is evaluated on.
        samples (`int`): how many, drawn by `seed`, of every length that there is.
        max_length, stride (`int`): windows, see `encode_windows`.

    Returns:
        `list[tuple[dict[str, list[int]], list[float]]]`: one window each, unpadded, and its length configuration.
    """
    rng = random.Random(seed)
    rows = data.select(sorted(rng.sample(range(len(data)), min(samples, len(data)))))
    windows = encode_windows(tokenizer, rows["question"], rows["context"], max_length, stride)
    check_lengths(config, [len(window.inputs["input_ids"]) for window in windows])
    everything = [1.0] * config.num_hidden_layers
    named = [config.length_configs[name] for name in config.named_budgets if name != FULL]  # not all that a search found
    named = named or [everything]
    drawn = (lambda _: everything, lambda turn: named[turn % len(named)], lambda _: sample_budget(rng, config, 1 / 3))
    chosen = rng.sample(windows, min(samples, len(windows)))
    return [(window.inputs, drawn[index % 3](index // 3)) for index, window in enumerate(chosen)]
