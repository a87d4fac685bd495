# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Runs windows through a model of any runtime."""

import numpy as np
import torch

from .features import Window, max_tokens_of


def run_windows(model, tokenizer, windows: list[Window], **call) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Runs windows as one batch, padded on the right. A model with a fixed shape runs as many batches as it needs.

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
    batch, length = fixed_shape(model)
    longest = max(len(window.inputs["input_ids"]) for window in windows)
    if length is not None and longest > length:
        raise ValueError(
            f"A window has {longest} tokens; this model was reshaped to {length}. Make windows shorter (max_seq_len in a "
            f"pipeline, max_length in an evaluation): {length} or less."
        )
    size = batch or len(windows)
    starts, ends = [], []
    for first in range(0, len(windows), size):
        part = windows[first : first + size]
        filled = part + part[-1:] * (size - len(part)) if batch else part  # a fixed batch is filled with copies
        start, end = _run(model, tokenizer, filled, length or max(len(window.inputs["input_ids"]) for window in part), call)
        for row, window in enumerate(part):
            starts.append(start[row, : len(window.inputs["input_ids"])])
            ends.append(end[row, : len(window.inputs["input_ids"])])
    return starts, ends


def _run(model, tokenizer, windows: list[Window], length: int, call: dict) -> tuple[np.ndarray, np.ndarray]:
    """Start and end logits `(windows, length)` of one call."""
    padding = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": getattr(tokenizer, "pad_token_type_id", 0)}
    inputs = {}
    for name in windows[0].inputs:
        inputs[name] = torch.full((len(windows), length), padding.get(name, 0))
        for row, window in enumerate(windows):
            inputs[name][row, : len(window.inputs[name])] = torch.tensor(window.inputs[name])
    device = getattr(model, "device", None)
    if isinstance(device, torch.device):
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
    with torch.inference_mode():
        output = model(**inputs, **call)
    start, end = output.start_logits, output.end_logits
    return torch.as_tensor(start).float().cpu().numpy(), torch.as_tensor(end).float().cpu().numpy()


def fixed_shape(model) -> tuple[int | None, int | None]:
    """Batch size and length that an OpenVINO model was reshaped to; `None` where any is valid.

    Args:
        model: a model of any class.
    """
    if getattr(model, "is_dynamic", True) or not hasattr(model, "model"):
        return None, None
    shape = model.model.inputs[0].partial_shape
    batch, length = (size.get_length() if size.is_static else None for size in (shape[0], shape[1]))
    return batch, length


def most_tokens(model, tokenizer) -> int:
    """The longest window that a model reads.

    Args:
        model: a model of any class.
        tokenizer (`PreTrainedTokenizerBase`): tokenizer of the model.
    """
    limits = [tokenizer.model_max_length, max_tokens_of(model.config), fixed_shape(model)[1]]
    return min(limit for limit in limits if limit is not None)
