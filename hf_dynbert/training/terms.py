# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The terms of the training objective: each takes what the passes of a step returned and returns one loss.

To add a term, derive from [`Term`] and pass an instance: `DistillationTrainer(..., extra_terms=[MyTerm(weight=0.1)])`.
"""

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..drop_and_restore import first_segment, first_token
from ..importance import IMPORTANCES
from ..subnetwork import SubNetwork, dropping_layers
from .batches import LOGITS, SPANS, TARGETS, token_mask
from .layer_comparison import LayerOutputs, LayerPairs
from .losses import (
    answer_distribution,
    divergence,
    logit_divergence,
    relation_divergence,
    relation_scores,
    saliency,
    score_error,
    span_loss,
    state_error,
    target_divergence,
)


@dataclass
class PassOutputs:
    """What all passes of one training step returned.

    Args:
        config (`PreTrainedConfig`): configuration of the student.
        sub_networks (`list[SubNetwork]`): what ran in each pass; the first is the full-length pass.
        full (`ModelOutput`): output of the full-length pass.
        smaller (`list[ModelOutput]`): outputs of the other passes, in order.
        answers (`dict[str, torch.Tensor]`): a teacher's answers: `teacher_start` and `teacher_end` of shape `(B, L)`,
            probabilities over the student's tokens; or `teacher_logits` of shape `(B, C)`. Empty without a teacher.
        student_layers, teacher_layers (`LayerOutputs`, *optional*): of the full-length pass and of the teacher, at the same
            tokens. The student's states have the teacher's width.
        compared (`torch.BoolTensor` of shape `(B, L)`, *optional*): tokens that both models read.
    """

    config: Any
    sub_networks: list[SubNetwork]
    full: Any
    smaller: list[Any] = field(default_factory=list)
    answers: dict[str, torch.Tensor] = field(default_factory=dict)
    student_layers: LayerOutputs | None = None
    teacher_layers: LayerOutputs | None = None
    compared: torch.Tensor | None = None


class Term(nn.Module):
    """One part of the training objective. Its parameters, if it has any, are trained and kept in checkpoints.

    Args:
        weight (`float`, *optional*, defaults to 1): the objective adds `weight * share * loss`.

    Attributes:
        name (`str`): the loss is logged as `loss_{name}`, without its weight.
        columns (`tuple[str, ...]`): columns of the training data that this term reads and the model does not take.
        needs_hidden_states (`bool`): whether `outputs.full.hidden_states` must be there.
        needs_token_scores (`bool`): whether the outputs' `token_scores` must be there.
    """

    name = ""
    columns: tuple[str, ...] = ()
    needs_hidden_states = False
    needs_token_scores = False

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.weight = weight

    def share(self, num_passes: int) -> float:
        """Share of the step's passes that this term learns from; the objective multiplies the loss by it."""
        return 1.0

    def forward(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The loss, a scalar mean over the batch; `None` where the batch has nothing for this term.

        Args:
            outputs (`PassOutputs`): what the passes of this step returned.
            batch (`dict[str, torch.Tensor]`): the features, labels included.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(outputs, batch).")


class FullPassTerm(Term):
    """A term of the full-length pass alone, which is one of several passes."""

    def share(self, num_passes: int) -> float:
        """One pass of all."""
        return 1 / num_passes


class LabelsTerm(FullPassTerm):
    """The task's own loss, from the labels."""

    name = "labels"

    def forward(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The loss; `None` without labels, as in plain text."""
        return label_loss(outputs.full, batch)


class PredictionTerm(FullPassTerm):
    """Prediction-layer distillation (TinyBERT, arXiv 1909.10351, equation 10): the student learns a teacher's answers.

    Args:
        weight (`float`): see [`Term`].
        temperature (`float`): divides the student's logits, and a classifying teacher's logits.
    """

    name = "prediction"

    def __init__(self, weight: float, temperature: float):
        super().__init__(weight)
        self.temperature = temperature

    def forward(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The divergence from the teacher's answers; `None` where the batch has none."""
        answers = outputs.answers
        if LOGITS in answers:
            kind = problem_type(outputs.config)
            return logit_divergence(outputs.full.logits, answers[LOGITS], kind, temperature=self.temperature)
        if TARGETS[0] not in answers:
            return None
        mask = token_mask(batch)
        start = target_divergence(outputs.full.start_logits, answers[TARGETS[0]], mask, self.temperature)
        end = target_divergence(outputs.full.end_logits, answers[TARGETS[1]], mask, self.temperature)
        return (start + end) / 2


class LayerTerm(FullPassTerm):
    """A term between the layers of the full-length pass and of a teacher.

    Args:
        weight (`float`): see [`Term`].
        pairs (`LayerPairs`): the layers to compare.
    """

    needs_hidden_states = True

    def __init__(self, weight: float, pairs: LayerPairs):
        super().__init__(weight)
        self.pairs = pairs


class EmbeddingTerm(LayerTerm):
    """Embedding-layer distillation (TinyBERT, arXiv 1909.10351, equation 9)."""

    name = "embedding"

    def forward(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The squared error of the embeddings' output."""
        return state_error(outputs.student_layers.states[0], outputs.teacher_layers.states[0], outputs.compared)


class HiddenTerm(LayerTerm):
    """Hidden-state distillation (TinyBERT, arXiv 1909.10351, equation 8), summed over the layer map."""

    name = "hidden"

    def forward(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The squared error of the hidden states."""
        student, teacher = outputs.student_layers.states, outputs.teacher_layers.states
        errors = [
            state_error(student[student_layer], teacher[teacher_layer], outputs.compared)
            for student_layer, teacher_layer in enumerate(self.pairs.map, start=1)
        ]
        return sum(errors)


class AttentionTerm(LayerTerm):
    """Attention distillation (TinyBERT, arXiv 1909.10351, equation 7; probabilities as in Dynamic-TinyBERT, 2111.09645)."""

    name = "attention"

    def forward(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The squared error of the attention scores, or of the probabilities."""
        student, teacher = outputs.student_layers.attention, outputs.teacher_layers.attention
        as_probabilities = self.pairs.args.attention_target == "probabilities"
        errors = [
            score_error(student[student_layer].scores(), teacher[teacher_layer].scores(), outputs.compared, as_probabilities)
            for student_layer, teacher_layer in enumerate(self.pairs.map, start=1)
        ]
        return sum(errors)


class RelationTerm(LayerTerm):
    """Relation distillation of one layer (MiniLM, arXiv 2002.10957; MiniLMv2, 2012.15828)."""

    name = "relation"

    def forward(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The divergence of the relations, summed over their kinds."""
        student = outputs.student_layers.attention[self.pairs.student.num_hidden_layers]
        teacher = outputs.teacher_layers.attention[self.pairs.relation_layer]
        losses = [
            relation_divergence(self._relation(student, kind), self._relation(teacher, kind), outputs.compared)
            for kind in self.pairs.args.relations
        ]
        return sum(losses)

    def _relation(self, view, kind: str) -> torch.Tensor:
        if kind == "attention":
            return view.scores()
        states = getattr(view, kind)
        return relation_scores(states, states, self.pairs.relation_heads)


class InPlaceTerm(Term):
    """In-place distillation (arXiv 2010.07003, section 3.2): the smaller sub-networks learn the full-length answers.

    A dropped token that returns with its last state may be an answer, so this term counts it; with `dropped_logits="mask"`
    it cannot be one, so this term leaves it out. No other term counts a dropped token.

    Args:
        weight (`float`): see [`Term`].
        temperature (`float`): divides both logits.
        direction (`str`): see `divergence`.
    """

    name = "in_place"

    def __init__(self, weight: float, temperature: float, direction: str):
        super().__init__(weight)
        self.temperature, self.direction = temperature, direction

    def share(self, num_passes: int) -> float:
        """All passes but the full-length one."""
        return (num_passes - 1) / num_passes

    def forward(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The mean divergence of the smaller sub-networks from the full-length answers."""
        if not outputs.smaller:
            return None
        return sum(self._divergence(output, outputs, batch) for output in outputs.smaller) / len(outputs.smaller)

    def _divergence(self, output, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        how = {"temperature": self.temperature, "direction": self.direction}
        full = outputs.full
        if "logits" in full:
            return logit_divergence(output.logits, full.logits, problem_type(outputs.config), **how)
        mask = token_mask(batch)
        if outputs.config.dropped_logits == "mask" and output.kept_tokens is not None:
            mask = mask & output.kept_tokens
        start = divergence(output.start_logits, full.start_logits, mask, **how)
        end = divergence(output.end_logits, full.end_logits, mask, **how)
        return (start + end) / 2


class ImportanceTerm(Term):
    """Learned importance: the scorers of each layer learn which tokens the answer depends on, by the strategy's own loss.

    Args:
        weight (`float`): see [`Term`].
        target (`str`): `"own"`, the full-length pass, or `"teacher"`, the teacher's answers.
        classifies (`bool`): whether the student returns classes; the targets are then gradients of its hidden states.
    """

    name = "importance"
    needs_token_scores = True

    def __init__(self, weight: float, target: str, classifies: bool):
        super().__init__(weight)
        self.target, self.needs_hidden_states = target, classifies

    def forward(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The mean loss over layers and passes; `None` if LayerDrop left out every layer that has a scorer."""
        config = outputs.config
        strategy = IMPORTANCES[config.importance]
        candidates = self._candidates(config, batch)
        targets = self._targets(outputs, batch)
        losses = []
        for sub_network, output in zip(outputs.sub_networks, [outputs.full, *outputs.smaller], strict=True):
            scored = [layer for layer in layers_of(sub_network, config) if layer in dropping_layers(config)]
            for layer, scores in zip(scored, output.token_scores, strict=True):
                if layer in targets:  # LayerDrop may have left the layer out of the full-length pass
                    losses.append(strategy.loss(scores, targets[layer], candidates & torch.isfinite(scores)))
        return sum(losses) / len(losses) if losses else None

    @staticmethod
    def _candidates(config, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Tokens that compete, `(B, L)`: neither CLS nor the first segment where the configuration protects them."""
        mask = token_mask(batch)
        candidates = mask & ~first_token(mask) if config.keep_cls else mask
        if config.protect_first_segment:
            segment = first_segment(mask, batch.get("token_type_ids"), batch.get("input_ids"), config.sep_token_id)
            candidates = candidates & ~segment
        return candidates

    def _targets(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> dict[int, torch.Tensor]:
        """For each layer, how much each token matters, `(B, L)`."""
        full, config = outputs.full, outputs.config
        if "logits" in full:
            layers = layers_of(outputs.sub_networks[0], config)
            return dict(zip(layers, saliency(full.logits, full.hidden_states[1:]), strict=True))
        if self.target == "teacher":
            if TARGETS[0] not in outputs.answers:
                raise ValueError(
                    "importance_target='teacher' needs a teacher's answers: give teacher=... or the columns of "
                    "teacher_predictions(...), or use importance_target='own'."
                )
            target = (outputs.answers[TARGETS[0]] + outputs.answers[TARGETS[1]]) / 2
        else:
            padding = ~token_mask(batch)
            start, end = full.start_logits.float(), full.end_logits.float()
            target = answer_distribution(start.masked_fill(padding, -torch.inf), end.masked_fill(padding, -torch.inf))
        return dict.fromkeys(range(config.num_hidden_layers), target)


def build_terms(args, student, pairs: LayerPairs | None) -> list[Term]:
    """The terms that the arguments give a weight.

    Args:
        args ([`DistillationArguments`]): weights and settings.
        student (`PreTrainedModel`): the model to train.
        pairs (`LayerPairs`, *optional*): layers to compare; `None` without terms between layers.
    """
    config, head = student.config, head_of(student)
    terms: list[Term] = []
    if args.hard_label_weight:
        terms.append(LabelsTerm(args.hard_label_weight))
    if args.prediction_weight and head is not None:
        terms.append(PredictionTerm(args.prediction_weight, args.teacher_temperature))
    if args.embedding_weight:
        terms.append(EmbeddingTerm(args.embedding_weight, pairs))
    if args.hidden_weight:
        terms.append(HiddenTerm(args.hidden_weight, pairs))
    if args.attention_weight:
        terms.append(AttentionTerm(args.attention_weight, pairs))
    if args.relation_weight:
        terms.append(RelationTerm(args.relation_weight, pairs))
    if args.length_drop:
        terms.append(InPlaceTerm(1.0, args.temperature, args.divergence_direction))
        if IMPORTANCES[config.importance].is_learned and args.importance_weight:
            terms.append(ImportanceTerm(args.importance_weight, args.importance_target, classifies=head == "classes"))
    return terms


def head_of(model) -> str | None:
    """What a model answers: `"spans"` of the text, `"classes"` (or real numbers), or `None` without such a head."""
    parameters = inspect.signature(model.forward).parameters
    if "start_positions" in parameters:
        return "spans"
    return "classes" if "labels" in parameters else None


def label_loss(output, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
    """The task's loss of one output, mean over examples; `None` without labels.

    The loss of spans leaves padding out of the softmax, where transformers includes it: the loss of an example then depends
    on the example alone.
    """
    if all(name in batch for name in SPANS) and "start_logits" in output:
        mask = token_mask(batch)
        start = span_loss(output.start_logits, batch[SPANS[0]], mask)
        end = span_loss(output.end_logits, batch[SPANS[1]], mask)
        return (start + end) / 2
    return output.get("loss")


def problem_type(config) -> str:
    """What a classifier's logits mean, as transformers decides it."""
    if config.problem_type is not None:
        return config.problem_type
    return "regression" if config.num_labels == 1 else "single_label_classification"


def layers_of(sub_network: SubNetwork, config) -> list[int]:
    """Layers that ran."""
    return list(range(config.num_hidden_layers) if sub_network.layers is None else sub_network.layers)
