# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Runs inputs through a model of any runtime, for every task."""

from collections.abc import Sequence

import numpy as np
import torch


PER_TOKEN = ("start_logits", "end_logits")  # outputs with one number for each token of the input
OUTPUTS = ("logits", *PER_TOKEN)


def pad_batch(tokenizer, inputs: Sequence[dict], length: int | None = None) -> dict[str, torch.Tensor]:
    """Pads inputs on the right, so that outputs can be cut by length, whatever the tokenizer's own side is.

    The tokenizer itself is not called: its padding has a state, which threads would share.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): has the padding ids.
        inputs (`list[dict[str, list[int]]]`): unpadded inputs.
        length (`int`, *optional*): width of the batch; the longest input's by default.

    Returns:
        `dict[str, torch.LongTensor]`: tensors of shape `(inputs, length)`.
    """
    length = length or max(len(item["input_ids"]) for item in inputs)
    padding = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": getattr(tokenizer, "pad_token_type_id", 0)}
    batch = {}
    for name in inputs[0]:
        batch[name] = torch.full((len(inputs), length), padding.get(name, 0))
        for row, item in enumerate(inputs):
            batch[name][row, : len(item[name])] = torch.tensor(item[name])
    return batch


def run_batch(model, tokenizer, inputs: Sequence[dict], **call) -> list[dict[str, np.ndarray]]:
    """Runs inputs as one batch, padded on the right. A model with a fixed shape runs as many batches as it needs.

    Args:
        model: any model of transformers or Optimum.
        tokenizer (`PreTrainedTokenizerBase`): tokenizer of the model.
        inputs (`list[dict[str, list[int]]]`): unpadded inputs.
        call: further arguments of the call, such as a budget.

    Returns:
        `list[dict[str, np.ndarray]]`: for each input its outputs by name; those for each token have the input's length.

    Raises:
        ValueError: an input is longer than the model's fixed shape.
    """
    batch, length = fixed_shape(model)
    longest = max(len(item["input_ids"]) for item in inputs)
    if length is not None and longest > length:
        raise ValueError(
            f"An input has {longest} tokens; this model was reshaped to {length}. Make inputs shorter (max_seq_len in a "
            f"question answering pipeline, else max_length): {length} or less."
        )
    size = batch or len(inputs)
    rows: list[dict[str, np.ndarray]] = []
    for first in range(0, len(inputs), size):
        part = list(inputs[first : first + size])
        filled = part + part[-1:] * (size - len(part)) if batch else part  # a fixed batch is filled with copies
        rows += _run(model, tokenizer, filled, length, call)[: len(part)]
    return rows


def _run(model, tokenizer, inputs: list[dict], length: int | None, call: dict) -> list[dict[str, np.ndarray]]:
    """Outputs of one call, for each input."""
    batch, device = pad_batch(tokenizer, inputs, length), getattr(model, "device", None)
    if isinstance(device, torch.device):
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
    with torch.inference_mode():
        output = model(**batch, **call)
    rows: list[dict[str, np.ndarray]] = [{} for _ in inputs]
    for name in OUTPUTS:
        if output.get(name) is None:
            continue
        values = torch.as_tensor(output[name]).float().cpu().numpy()
        for row, item, value in zip(rows, inputs, values, strict=True):
            row[name] = value[: len(item["input_ids"])] if name in PER_TOKEN else value
    return rows


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
