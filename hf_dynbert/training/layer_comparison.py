# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Which layers of a student and of a teacher are compared, and what one call of each returns for that."""

from dataclasses import dataclass

import torch

from .attention_capture import AttentionView, take_states
from .layer_maps import layer_map


RELATIONS = ("query", "key", "value", "attention")


@dataclass
class LayerOutputs:
    """Hidden states and attention of one call of a model.

    Args:
        states (`tuple[torch.Tensor]` of shape `(B, L, H)`): the embeddings, then the output of each layer; `None` where
            no term reads the states.
        attention (`dict[int, AttentionView]`): captured attention by layer, counted from 1; see `capture_attention`.
    """

    states: tuple[torch.Tensor | None, ...]
    attention: dict[int, AttentionView]

    def take(self, positions: torch.Tensor, layers: list[int]) -> "LayerOutputs":
        """The outputs at other token positions, `(B, T)`; only the states of `layers` are kept."""
        states = tuple(take_states(state, positions) if layer in layers else None for layer, state in enumerate(self.states))
        return LayerOutputs(states, {layer: view.take(positions) for layer, view in self.attention.items()})


class LayerPairs:
    """The layers that the terms between layers compare.

    TinyBERT (arXiv 1909.10351, equations 7 to 9) compares states and attention over the layers of a map. MiniLM (2002.10957)
    and MiniLMv2 (2012.15828) compare the relations of one layer of each model.

    Args:
        student, teacher (`PreTrainedConfig`): configurations of both models.
        args ([`DistillationArguments`]): weights, `layer_map`, `relations`, `relation_heads`, `relation_layer`.

    Raises:
        ValueError: a layer map, a number of heads or a layer that does not fit both models.
    """

    def __init__(self, student, teacher, args):
        self.args, self.student, self.teacher = args, student, teacher
        self.map = self._layer_map() if args.hidden_weight or args.attention_weight else []
        self.relation_layer = args.relation_layer or teacher.num_hidden_layers
        self.relation_heads = args.relation_heads or student.num_attention_heads
        self._check()

    @property
    def needs_projection(self) -> bool:
        """Whether hidden states are compared and the widths differ."""
        compared = self.args.hidden_weight or self.args.embedding_weight
        return bool(compared) and self.student.hidden_size != self.teacher.hidden_size

    @property
    def student_states(self) -> list[int]:
        """Indices of the student's states that are compared; 0 is the embeddings."""
        embeddings = [0] if self.args.embedding_weight else []
        layers = list(range(1, len(self.map) + 1)) if self.args.hidden_weight else []
        return embeddings + layers

    @property
    def teacher_states(self) -> list[int]:
        """Indices of the teacher's states that are compared; 0 is the embeddings."""
        embeddings = [0] if self.args.embedding_weight else []
        return embeddings + (self.map if self.args.hidden_weight else [])

    @property
    def student_attention(self) -> list[int]:
        """Layers of the student whose attention is compared, counted from 1."""
        layers = set(range(1, len(self.map) + 1)) if self.args.attention_weight else set()
        if self.args.relation_weight:
            layers.add(self.student.num_hidden_layers)
        return sorted(layers)

    @property
    def teacher_attention(self) -> list[int]:
        """Layers of the teacher whose attention is compared, counted from 1."""
        layers = set(self.map) if self.args.attention_weight else set()
        if self.args.relation_weight:
            layers.add(self.relation_layer)
        return sorted(layers)

    def _layer_map(self) -> list[int]:
        given = self.args.layer_map
        named = len(given) == 1 and not given[0].isdigit()
        how = given[0] if named else [int(layer) for layer in given]
        return layer_map(how, self.student.num_hidden_layers, self.teacher.num_hidden_layers)

    def _check(self) -> None:
        student_heads, teacher_heads = self.student.num_attention_heads, self.teacher.num_attention_heads
        whole_heads = self.args.attention_weight or (self.args.relation_weight and "attention" in self.args.relations)
        if whole_heads and student_heads != teacher_heads:
            raise ValueError(
                f"the student has {student_heads} attention heads, the teacher {teacher_heads}, so their attention cannot "
                "be compared. Use relation_weight with relations query, key, value, which are split into relation_heads."
            )
        if self.args.relation_weight:
            widths = self.student.hidden_size, self.teacher.hidden_size
            if any(width % self.relation_heads for width in widths):
                raise ValueError(
                    f"relation_heads is {self.relation_heads}; valid are divisors of both hidden sizes, {widths[0]} and "
                    f"{widths[1]}."
                )
            if not 1 <= self.relation_layer <= self.teacher.num_hidden_layers:
                raise ValueError(
                    f"relation_layer is {self.relation_layer}; valid are the teacher's layers, 1 to "
                    f"{self.teacher.num_hidden_layers}."
                )
