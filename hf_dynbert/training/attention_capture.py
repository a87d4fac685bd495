# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a layer's attention is made of, seen from outside: BERT and all that is built like it, by forward hooks."""

import contextlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from .losses import relation_scores


# What the models of transformers call these layers: BERT, RoBERTa and ELECTRA; MPNet; DistilBERT
NAMES = {"query": ("query", "q", "q_lin"), "key": ("key", "k", "k_lin"), "value": ("value", "v", "v_lin")}


@dataclass
class AttentionView:
    """One layer's attention in one call.

    Args:
        heads (`int`): its attention heads.
        query, key, value (`torch.Tensor` of shape `(B, L, H)`): projected states.
        bias (`torch.Tensor` of shape `(1 or B, A, L, L)`, *optional*): what the layer adds to its scores by position.
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

    def take(self, places: torch.Tensor) -> "AttentionView":
        """The same of other tokens: `places` `(B, T)` among this one's; those below 0 give any."""
        chosen = places.clamp(min=0)
        moved = {name: take_states(getattr(self, name), chosen) for name in NAMES}
        bias = self.bias
        if bias is not None:
            batch, tokens = chosen.shape
            bias = bias.expand(batch, *bias.shape[1:])
            bias = bias.gather(2, chosen[:, None, :, None].expand(-1, bias.shape[1], -1, bias.shape[3]))
            bias = bias.gather(3, chosen[:, None, None, :].expand(-1, bias.shape[1], tokens, -1))
        return AttentionView(self.heads, bias=bias, **moved)


def take_states(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """States `(B, L, H)` of the tokens in these places `(B, T)`; places below 0 give any."""
    return states.gather(1, places.clamp(min=0)[:, :, None].expand(-1, -1, states.shape[-1]))


@contextlib.contextmanager
def capture_attention(model: nn.Module, layers: Iterable[int]):
    """Watches the attention of some layers while the block runs.

    Args:
        model (`PreTrainedModel`): an encoder built like BERT.
        layers (`list[int]`): which, counted from 1.

    Yields:
        `dict[int, AttentionView]`: by layer, of the last call in the block.

    Raises:
        ValueError: a model whose attention has no queries, keys and values of their own.
    """
    views, handles = {layer: AttentionView(model.config.num_attention_heads) for layer in sorted(set(layers))}, []
    blocks = encoder_layers(model) if views else []  # whose attention nobody asks for may be built in any way
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
    """The encoder's layers, wherever the architecture keeps them."""
    depth = model.config.num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth and _attention(module[0], needed=False):
            return module
    raise ValueError(
        f"{type(model).__name__} has no list of {depth} layers whose attention has queries, keys and values of their own; "
        "losses of layers work with models built like BERT, RoBERTa, DistilBERT or MPNet."
    )


def _attention(block: nn.Module, needed: bool = True) -> tuple[nn.Module, dict[str, nn.Linear]] | None:
    """The module that holds queries, keys and values of a layer, and these."""
    for module in block.modules():
        children = dict(module.named_children())
        found = {part: children[name] for part, names in NAMES.items() for name in names if name in children}
        if len(found) == len(NAMES):
            return module, found
    if needed:
        raise ValueError(f"{type(block).__name__} has no queries, keys and values of its own.")
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
