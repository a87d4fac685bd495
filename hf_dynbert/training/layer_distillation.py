# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a student's layers learn from a teacher's: states, embeddings, attention and relations."""

from dataclasses import dataclass

import torch
from torch import nn

from .attention_capture import AttentionView, take_states
from .layer_maps import layer_map
from .losses import relation_divergence, relation_scores, score_error, state_error


RELATIONS = ("query", "key", "value", "attention")


@dataclass
class LayerTrace:
    """What one call of a model showed.

    Args:
        states (`tuple[torch.Tensor]` of shape `(B, L, H)`): embeddings and what left each layer.
        views (`dict[int, AttentionView]`): attention by layer, see `observe`.
    """

    states: tuple[torch.Tensor, ...]
    views: dict[int, AttentionView]

    def take(self, places: torch.Tensor, layers: list[int]) -> "LayerTrace":
        """The same of other tokens, `(B, T)`; states of the layers that are not asked for are left out."""
        states = tuple(take_states(state, places) if at in layers else None for at, state in enumerate(self.states))
        return LayerTrace(states, {layer: view.take(places) for layer, view in self.views.items()})


class LayerDistillation(nn.Module):
    """The terms between a student's full pass and a teacher's; holds the projection between their widths.

    TinyBERT (arXiv 1909.10351, equations 7 to 9) sums states and attention over the layers of its map; one projection serves
    all of them. MiniLM (2002.10957) and MiniLMv2 (2012.15828) compare relations in one layer of each.

    Args:
        student, teacher (`PreTrainedConfig`): of both models.
        args ([`DistillationArguments`]): weights, `layer_map`, `attention_target`, `relations`, `relation_heads`,
            `relation_layer`.

    Raises:
        ValueError: a layer map, heads or a layer that do not fit these models.
    """

    def __init__(self, student, teacher, args):
        super().__init__()
        self.args, self.student, self.teacher = args, student, teacher
        by_layer = args.hidden_weight or args.attention_weight
        how = args.layer_map[0] if len(args.layer_map) == 1 and not args.layer_map[0].isdigit() else None
        how = how or [int(layer) for layer in args.layer_map]
        depths = student.num_hidden_layers, teacher.num_hidden_layers
        self.map = layer_map(how, *depths) if by_layer else []
        self.relation_layer = args.relation_layer or teacher.num_hidden_layers
        self.relation_heads = args.relation_heads or student.num_attention_heads
        self._check()
        self.projection = None
        if (args.hidden_weight or args.embedding_weight) and student.hidden_size != teacher.hidden_size:
            self.projection = nn.Linear(student.hidden_size, teacher.hidden_size)

    @property
    def student_layers(self) -> list[int]:
        """Layers of the student whose attention is compared, from 1."""
        pairs = range(1, len(self.map) + 1) if self.args.attention_weight else []
        return sorted({*pairs, *([self.student.num_hidden_layers] if self.args.relation_weight else [])})

    @property
    def teacher_layers(self) -> list[int]:
        """Layers of the teacher whose attention is compared, from 1."""
        pairs = self.map if self.args.attention_weight else []
        return sorted({*pairs, *([self.relation_layer] if self.args.relation_weight else [])})

    @property
    def teacher_states(self) -> list[int]:
        """States of the teacher that are compared; 0 are the embeddings."""
        return [*([0] if self.args.embedding_weight else []), *(self.map if self.args.hidden_weight else [])]

    def forward(self, student: LayerTrace, teacher: LayerTrace, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """The weighted terms by name.

        Args:
            student, teacher (`LayerTrace`): of the same tokens, `(B, L)`.
            mask (`torch.BoolTensor` of shape `(B, L)`): tokens that count.
        """
        args, parts = self.args, {}
        project = self.projection or nn.Identity()
        if args.embedding_weight:
            parts["embedding"] = args.embedding_weight * state_error(project(student.states[0]), teacher.states[0], mask)
        if args.hidden_weight:
            pairs = [(student.states[mine], teacher.states[theirs]) for mine, theirs in enumerate(self.map, start=1)]
            parts["hidden"] = args.hidden_weight * sum(state_error(project(mine), theirs, mask) for mine, theirs in pairs)
        if args.attention_weight:
            views = [(student.views[mine], teacher.views[theirs]) for mine, theirs in enumerate(self.map, start=1)]
            as_probabilities = args.attention_target == "probabilities"
            parts["attention"] = args.attention_weight * sum(
                score_error(mine.scores(), theirs.scores(), mask, as_probabilities) for mine, theirs in views
            )
        if args.relation_weight:
            views = student.views[self.student.num_hidden_layers], teacher.views[self.relation_layer]
            parts["relation"] = args.relation_weight * sum(
                relation_divergence(*(self._relation(view, name) for view in views), mask) for name in args.relations
            )
        return parts

    def _relation(self, view: AttentionView, name: str) -> torch.Tensor:
        if name == "attention":
            return view.scores()
        states = getattr(view, name)
        return relation_scores(states, states, self.relation_heads)

    def _check(self) -> None:
        heads = self.student.num_attention_heads, self.teacher.num_attention_heads
        whole = self.args.attention_weight or (self.args.relation_weight and "attention" in self.args.relations)
        if whole and heads[0] != heads[1]:
            raise ValueError(
                f"the student has {heads[0]} attention heads, the teacher {heads[1]}, so their attention cannot be "
                "compared; use relation_weight with relations query, key, value, which cut both into relation_heads."
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
