# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Runs windows of questions and contexts through a model of any runtime."""

import numpy as np

from ..inference import fixed_shape, run_batch
from .features import Window, max_tokens_of


def run_windows(model, tokenizer, windows: list[Window], **call) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Runs windows as one batch; see [`~hf_dynbert.tasks.inference.run_batch`].

    Args:
        model: any extractive question answering model of transformers or Optimum.
        tokenizer (`PreTrainedTokenizerBase`): tokenizer of the model; its `padding_side` is not used.
        windows (`list[Window]`): windows of `encode_windows`.
        call: keyword arguments of the call, such as a budget.

    Returns:
        `tuple`: start logits and end logits of each window, of shape `(L,)` without padding.

    Raises:
        ValueError: a window is longer than the model's fixed shape.
    """
    rows = run_batch(model, tokenizer, [window.inputs for window in windows], **call)
    return [row["start_logits"] for row in rows], [row["end_logits"] for row in rows]


def most_tokens(model, tokenizer) -> int:
    """The longest window that a model reads.

    Args:
        model: a model of any class.
        tokenizer (`PreTrainedTokenizerBase`): tokenizer of the model.
    """
    limits = [tokenizer.model_max_length, max_tokens_of(model.config), fixed_shape(model)[1]]
    return min(limit for limit in limits if limit is not None)
