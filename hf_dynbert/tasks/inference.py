# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Runs inputs through a model of any runtime, for every task."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from tqdm.auto import tqdm

from ..utils.defaults import MAX_LENGTH


PER_TOKEN = ("start_logits", "end_logits")  # outputs with one number for each token of the input
OUTPUTS = ("logits", *PER_TOKEN)
# Of these architectures positions count from the row after that of padding
COUNTED_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "roberta-prelayernorm", "camembert", "mpnet", "longformer")


def pad_batch(tokenizer, inputs: Sequence[dict], length: int | None = None) -> dict[str, torch.Tensor]:
    """Pads inputs on the right, whatever the tokenizer's padding side, so that outputs can be cut by length.

    The tokenizer is not called, since threads would share the state of its padding.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): has the padding ids.
        inputs (`list[dict[str, list[int]]]`): unpadded inputs.
        length (`int`, *optional*): width of the batch; by default the length of the longest input.

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


@contextmanager
def evaluation_mode(model) -> Iterator[None]:
    """Sets a PyTorch model to evaluation mode, and back to its own mode afterwards."""
    training = getattr(model, "training", False)
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


def run_sorted(
    model, tokenizer, inputs: Sequence[dict], batch_size: int, progress: str | None = None, **call
) -> list[dict[str, np.ndarray]]:
    """Runs inputs in batches of similar lengths, the longest first; see `run_batch` for the outputs, in the inputs' order.

    Args:
        batch_size (`int`): inputs of a batch.
        progress (`str`, *optional*): text before a progress bar; no bar by default.
    """
    order = sorted(range(len(inputs)), key=lambda index: -len(inputs[index]["input_ids"]))
    batches = [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    outputs: list[dict[str, np.ndarray]] = [{} for _ in order]
    with evaluation_mode(model):
        for batch in tqdm(batches, desc=progress, disable=progress is None):
            rows = run_batch(model, tokenizer, [inputs[index] for index in batch], **call)
            for index, row in zip(batch, rows, strict=True):
                outputs[index] = row
    return outputs


def run_batch(model, tokenizer, inputs: Sequence[dict], **call) -> list[dict[str, np.ndarray]]:
    """Runs inputs as one batch, padded on the right. A model with a fixed shape runs as many batches as it needs.

    Args:
        model: any model of transformers or Optimum.
        tokenizer (`PreTrainedTokenizerBase`): tokenizer of the model.
        inputs (`list[dict[str, list[int]]]`): unpadded inputs.
        call: further arguments of the call, such as a budget.

    Returns:
        `list[dict[str, np.ndarray]]`: for each input its outputs by name; outputs for each token have the input's length.

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


def max_tokens_of(config) -> int | None:
    """The most tokens of a text that a model with this configuration reads; `None` where its positions set no limit."""
    if hasattr(config, "check_inputs"):  # ours; also where its code came with a repository
        return config.max_tokens
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1 or not getattr(config, "position_biased_input", True):  # DeBERTa
        return None
    if config.model_type in COUNTED_POSITIONS and config.pad_token_id is not None:
        return positions - config.pad_token_id - 1
    return positions


def check_max_length(config, max_length: int, option: str = "max_length", default: int = MAX_LENGTH) -> None:
    """Refuses windows that are larger than what a model reads.

    The default is not refused, since short texts make short windows of it: see `check_lengths`.
    """
    most = max_tokens_of(config)
    if most is not None and max_length > most and max_length != default:
        raise ValueError(f"{option} is {max_length}; this model reads {most} tokens. Valid is {option}={most} or less.")


def check_lengths(config, lengths: Iterable[int], option: str = "max_length") -> None:
    """Refuses tokenized texts that are longer than what a model reads."""
    most, longest = max_tokens_of(config), max(lengths, default=0)
    if most is not None and longest > most:
        raise ValueError(f"{longest} tokens; this model reads {most}. Make windows shorter: {option}={most} or less.")
