# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Operations that PyTorch traces as one call each, so that the export converts each as a whole."""

import torch

from ..drop_and_restore import take_tokens as eager_take_tokens


# Exporters convert these to operations of their runtime: the length configuration, and steps that TorchScript would trace as
# several operations.
torch.library.define("hf_dynbert::length_config", "(Tensor default, Tensor input_ids) -> Tensor")
torch.library.define("hf_dynbert::take_tokens", "(Tensor tokens, Tensor slots) -> Tensor")
torch.library.define("hf_dynbert::put_tokens", "(Tensor tokens, Tensor slots, Tensor values) -> Tensor")
torch.library.define("hf_dynbert::top_slots", "(Tensor ranking, Tensor width) -> Tensor")
# Operations that `export.without_drops` removes
torch.library.define("hf_dynbert::drop_tokens", "(Tensor tokens, Tensor slots) -> Tensor")
torch.library.define("hf_dynbert::restore_tokens", "(Tensor table, Tensor rows) -> Tensor")
torch.library.define("hf_dynbert::keep_outputs", "(Tensor outputs, Tensor filled) -> Tensor")
torch.library.define("hf_dynbert::place_outputs", "(Tensor tokens, Tensor slots, Tensor outputs) -> Tensor")
torch.library.define("hf_dynbert::attention_bias", "(Tensor token_mask) -> Tensor")
torch.library.define("hf_dynbert::attention_bias_of_kept", "(Tensor filled) -> Tensor")

LOWEST = torch.finfo(torch.float32).min


@torch.library.impl("hf_dynbert::length_config", "cpu")
def _default_length_config(default, input_ids):
    return default.clone()


def _take_tokens(tokens, slots):
    return eager_take_tokens(tokens, slots.clamp(min=0)).clone()


for _name in ("take_tokens", "drop_tokens", "restore_tokens"):
    torch.library.impl(f"hf_dynbert::{_name}", "cpu", _take_tokens)


def _put_tokens(tokens, slots, values):
    return tokens.scatter(-1, slots, values)


for _name in ("put_tokens", "place_outputs"):
    torch.library.impl(f"hf_dynbert::{_name}", "cpu", _put_tokens)


@torch.library.impl("hf_dynbert::top_slots", "cpu")
def _top_slots(ranking, width):
    return ranking.sort(dim=1, descending=True, stable=True).indices[:, : int(width)].clone()


@torch.library.impl("hf_dynbert::keep_outputs", "cpu")
def _keep_outputs(outputs, filled):
    return outputs.masked_fill(~filled, LOWEST)


def _attention_bias(token_mask):
    return torch.where(token_mask, 0.0, LOWEST)


for _name in ("attention_bias", "attention_bias_of_kept"):
    torch.library.impl(f"hf_dynbert::{_name}", "cpu", _attention_bias)


def take_tokens(tokens: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """[`drop_and_restore.take_tokens`] as one operation of the graph; a slot of -1 takes any token."""
    return torch.ops.hf_dynbert.take_tokens(tokens, slots)


def put_tokens(tokens: torch.Tensor, slots: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Returns `(B, N)` with the values `(B, K)` in these slots, which must be distinct."""
    return torch.ops.hf_dynbert.put_tokens(tokens, slots, values)


def top_slots(ranking: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Slots of the largest numbers, the largest first, equal ones in order: `(B, N)` and at most N give `(B, width)`."""
    return torch.ops.hf_dynbert.top_slots(ranking, width)
