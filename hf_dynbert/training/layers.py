# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Layers of a student and a teacher: which layers are compared, and their states and attention in a call.

Layers are counted from 1; the states of layer 0 are the embeddings.
"""

import contextlib
import functools
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .losses import relation_scores


# Names of the projections in transformers: BERT, RoBERTa and ELECTRA; MPNet; DistilBERT
PROJECTIONS = {"query": ("query", "q", "q_lin"), "key": ("key", "k", "k_lin"), "value": ("value", "v", "v_lin")}


def layer_map(how: Sequence[str | int], student_layers: int, teacher_layers: int) -> list[int]:
    """The teacher's layer for each layer of the student: `uniform` (every k-th; TinyBERT, arXiv 1909.10351, section 3.1),
    `last` (the last layers), or a list of layers.
    """
    how = [str(entry) for entry in how]
    step, rest = divmod(teacher_layers, student_layers)
    if how == ["uniform"] and step and not rest:
        return list(range(step, teacher_layers + 1, step))
    if how == ["last"] and step:
        return list(range(teacher_layers - student_layers + 1, teacher_layers + 1))
    layers = [int(entry) for entry in how if entry.isdigit()]
    in_range = all(1 <= layer <= teacher_layers for layer in layers)
    if len(layers) == len(how) == student_layers and in_range and layers == sorted(layers):
        return layers
    raise ValueError(
        f"layer_map is {' '.join(how)}; the student has {student_layers} layers, the teacher {teacher_layers}. Valid are "
        f"uniform (for a teacher whose depth is a multiple of the student's), last (for a teacher at least as deep), and "
        f"{student_layers} increasing layers of the teacher, 1 to {teacher_layers}."
    )


@dataclass
class LayerOutputs:
    """Projected hidden states and attention (see `capture_attention`) of a model's call, at some positions `(B, T)`."""

    hidden_states: tuple[torch.Tensor, ...]
    attention: dict[int, dict[str, torch.Tensor]]
    heads: int
    positions: torch.Tensor | None = None
    projection: nn.Linear | None = None

    def states(self, layer: int) -> torch.Tensor:
        """The states of a layer, `(B, T, H)`."""
        states = self.hidden_states[layer].float()
        if self.positions is not None:
            states = states.take_along_dim(self.positions[:, :, None], dim=1)
        return states if self.projection is None else self.projection(states)

    def scores(self, layer: int, kind: str = "attention", heads: int | None = None) -> torch.Tensor:
        """Scores `(B, A, T, T)` of the attention, or of the relations of queries, keys or values with themselves."""
        parts = self.attention[layer]
        if kind == "attention":
            scores = relation_scores(parts["query"], parts["key"], self.heads) + parts.get("position_bias", 0.0)
        else:
            scores = relation_scores(parts[kind], parts[kind], heads or self.heads)
        if self.positions is not None:
            scores = scores.take_along_dim(self.positions[:, None, :, None], dim=2)
            scores = scores.take_along_dim(self.positions[:, None, None, :], dim=3)
        return scores


@contextlib.contextmanager
def capture_attention(model: nn.Module, layers: Iterable[int]):
    """Captures the attention of some layers in the last call of the block: for each layer `query`, `key` and `value`,
    `(B, L, H)`, and `position_bias`, `(1 or B, A, L, L)`, where the layer adds a bias to its scores.
    """
    captured, handles = {layer: {} for layer in layers}, []
    try:
        for layer, parts in captured.items():
            attention, projections = _attention(encoder_layers(model)[layer - 1])
            handles.append(attention.register_forward_pre_hook(functools.partial(_keep_bias, parts), with_kwargs=True))
            for name, projection in projections.items():
                handles.append(projection.register_forward_hook(functools.partial(_keep_output, parts, name)))
        yield captured
    finally:
        for handle in handles:
            handle.remove()


def encoder_layers(model: nn.Module) -> nn.ModuleList:
    """The list of the encoder's layers."""
    depth = model.config.num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth and _attention(module[0]):
            return module
    raise ValueError(f"{type(model).__name__} has no list of {depth} layers with queries, keys and values, as BERT has.")


def _attention(layer: nn.Module) -> tuple[nn.Module, dict[str, nn.Linear]] | None:
    """The attention module of a layer and its projections of queries, keys and values."""
    for module in layer.modules():
        children = dict(module.named_children())
        found = {part: children[name] for part, names in PROJECTIONS.items() for name in names if name in children}
        if len(found) == len(PROJECTIONS):
            return module, found
    return None


def _keep_output(parts: dict, name: str, module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
    parts[name] = output


def _keep_bias(parts: dict, module: nn.Module, args: tuple, kwargs: dict) -> None:
    bias = inspect.signature(module.forward).bind(*args, **kwargs).arguments.get("position_bias")
    if bias is not None:
        parts["position_bias"] = bias
