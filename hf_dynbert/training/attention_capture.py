# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Queries, keys and values of attention layers, captured by forward hooks: BERT and models built like it."""

import contextlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from .losses import relation_scores


# Names of these layers in transformers: BERT, RoBERTa and ELECTRA; MPNet; DistilBERT
NAMES = {"query": ("query", "q", "q_lin"), "key": ("key", "k", "k_lin"), "value": ("value", "v", "v_lin")}


@dataclass
class AttentionView:
    """The attention of one layer in one call.

    Args:
        heads (`int`): attention heads of the layer.
        query, key, value (`torch.Tensor` of shape `(B, L, H)`): projected states.
        bias (`torch.Tensor` of shape `(1 or B, A, L, L)`, *optional*): position bias that the layer adds to its scores.
    """

    heads: int
    query: torch.Tensor | None = None
    key: torch.Tensor | None = None
    value: torch.Tensor | None = None
    bias: torch.Tensor | None = None

    def scores(self) -> torch.Tensor:
        """The attention scores before the softmax, `(B, A, L, L)`."""
        scores = relation_scores(self.query, self.key, self.heads)
        return scores if self.bias is None else scores + self.bias

    def take(self, positions: torch.Tensor) -> "AttentionView":
        """The attention of the tokens at these positions `(B, T)`; a position below 0 gives an arbitrary token."""
        chosen = positions.clamp(min=0)
        moved = {name: take_states(getattr(self, name), chosen) for name in NAMES}
        bias = self.bias
        if bias is not None:
            batch, tokens = chosen.shape
            bias = bias.expand(batch, *bias.shape[1:])
            bias = bias.gather(2, chosen[:, None, :, None].expand(-1, bias.shape[1], -1, bias.shape[3]))
            bias = bias.gather(3, chosen[:, None, None, :].expand(-1, bias.shape[1], tokens, -1))
        return AttentionView(self.heads, bias=bias, **moved)


def take_states(states: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """States `(B, L, H)` at these positions `(B, T)`; a position below 0 gives an arbitrary token."""
    return states.gather(1, positions.clamp(min=0)[:, :, None].expand(-1, -1, states.shape[-1]))


@contextlib.contextmanager
def capture_attention(model: nn.Module, layers: Iterable[int]):
    """Captures the attention of some layers while the block runs.

    Args:
        model (`PreTrainedModel`): an encoder built like BERT.
        layers (`list[int]`): layers to capture, counted from 1.

    Yields:
        `dict[int, AttentionView]`: attention by layer, of the last call in the block.

    Raises:
        ValueError: the model's attention has no separate queries, keys and values.
    """
    views, handles = {layer: AttentionView(model.config.num_attention_heads) for layer in sorted(set(layers))}, []
    blocks = encoder_layers(model) if views else []  # without layers to capture, a model may be built in any way
    try:
        for layer, view in views.items():
            owner, projections = _attention(blocks[layer - 1])
            handles += [projection.register_forward_hook(_keeper(view, name)) for name, projection in projections.items()]
            handles.append(owner.register_forward_pre_hook(_bias_keeper(view), with_kwargs=True))
        yield views
    finally:
        for handle in handles:
            handle.remove()


def encoder_layers(model: nn.Module) -> nn.ModuleList:
    """The list of the encoder's layers."""
    depth = model.config.num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth and _attention(module[0], needed=False):
            return module
    raise ValueError(
        f"{type(model).__name__} has no list of {depth} layers with separate queries, keys and values; "
        "losses of layers work with models built like BERT, RoBERTa, DistilBERT or MPNet."
    )


def _attention(block: nn.Module, needed: bool = True) -> tuple[nn.Module, dict[str, nn.Linear]] | None:
    """The module of a layer that holds the projections of queries, keys and values, and these projections."""
    for module in block.modules():
        children = dict(module.named_children())
        found = {part: children[name] for part, names in NAMES.items() for name in names if name in children}
        if len(found) == len(NAMES):
            return module, found
    if needed:
        raise ValueError(f"{type(block).__name__} has no separate queries, keys and values.")
    return None


def _keeper(view: AttentionView, name: str):
    def hook(_, __, output):
        setattr(view, name, output)

    return hook


def _bias_keeper(view: AttentionView):
    def hook(module, args, kwargs):
        given = inspect.signature(module.forward).bind(*args, **kwargs).arguments
        view.bias = given.get("position_bias")

    return hook
