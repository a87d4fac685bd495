# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Operations that PyTorch traces as one call each, so that the export converts each as a whole."""

import torch

from ..drop_and_restore import take_tokens


OPS = torch.ops.hf_dynbert  # the operations below, for example `OPS.take_tokens(tokens, slots)`
LOWEST = torch.finfo(torch.float32).min


def _define(name: str, arguments: str, eager) -> None:
    """Adds the operation `name` to `OPS`; outside of a graph it runs `eager`."""
    torch.library.define(f"hf_dynbert::{name}", f"({arguments}) -> Tensor")
    torch.library.impl(f"hf_dynbert::{name}", "cpu", eager)


def _length_config(default, input_ids):
    """The length configuration; a caller of the exported graph may set another than the default."""
    return default.clone()


def _take_tokens(tokens, slots):
    """[`drop_and_restore.take_tokens`]; a slot of -1 takes any token."""
    return take_tokens(tokens, slots.clamp(min=0)).clone()


def _put_tokens(tokens, slots, values):
    """`(..., N)` with the values `(..., K)` in these slots, which must be distinct."""
    return tokens.scatter(-1, slots, values)


def _top_slots(ranking, width):
    """Slots of the largest numbers, the largest first, equal ones in order: `(B, N)` and at most N give `(B, width)`."""
    return ranking.sort(dim=1, descending=True, stable=True).indices[:, : int(width)].clone()


def _keep_outputs(outputs, filled):
    """The outputs of filled slots, and the lowest number for the others."""
    return outputs.masked_fill(~filled, LOWEST)


def _attention_bias(token_mask):
    """0 for real tokens, the lowest number for the others."""
    return torch.where(token_mask, 0.0, LOWEST)


_define("length_config", "Tensor default, Tensor input_ids", _length_config)
_define("take_tokens", "Tensor tokens, Tensor slots", _take_tokens)
_define("put_tokens", "Tensor tokens, Tensor slots, Tensor values", _put_tokens)
_define("top_slots", "Tensor ranking, Tensor width", _top_slots)
# Operations that `export.without_drops` removes
_define("drop_tokens", "Tensor tokens, Tensor slots", _take_tokens)
_define("restore_tokens", "Tensor table, Tensor rows", _take_tokens)
_define("keep_outputs", "Tensor outputs, Tensor filled", _keep_outputs)
_define("place_outputs", "Tensor tokens, Tensor slots, Tensor outputs", _put_tokens)
_define("attention_bias", "Tensor token_mask", _attention_bias)
_define("attention_bias_of_kept", "Tensor filled", _attention_bias)
