# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The terms of the training objective: each takes what the passes of a step returned and returns one loss.

To add a term, derive from [`Term`] and pass an instance: `DistillationTrainer(..., extra_terms=[MyTerm(weight=0.1)])`.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from ..drop_and_restore import first_segment, first_token
from ..importance import IMPORTANCES
from ..subnetwork import SubNetwork, dropping_layers
from ..tasks.text_classification.labels import problem_type_of
from . import losses
from .batches import GROUPS, LOGITS, SPANS, TARGETS, token_mask
from .layers import LayerOutputs, layer_map


@dataclass
class PassOutputs:
    """What all passes of one training step returned.

    Args:
        config (`PreTrainedConfig`): configuration of the student.
        sub_networks (`list[SubNetwork]`): what ran in each pass; the first is the full-length pass.
        full (`ModelOutput`), smaller (`list[ModelOutput]`): outputs of the full-length pass and of the smaller sub-networks.
        answers (`dict[str, torch.Tensor]`): a teacher's answers: `teacher_start` and `teacher_end` of shape `(B, L)`,
            probabilities over the student's tokens; or `teacher_logits` of shape `(B, C)`. Empty without a teacher.
        student_layers, teacher_layers ([`LayerOutputs`], *optional*): where a term compares layers.
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
        passes (`str`): passes that the term learns from: `all`, `full` or `smaller`. Their share of the step's passes
            multiplies the loss.
        columns (`tuple[str, ...]`): columns of the training data that this term reads and the model does not take.
        needs_hidden_states, needs_token_scores (`bool`): outputs that the passes must return.
        state_pairs, attention_pairs (`list[tuple[int, int]]`): layers of the student and of the teacher whose states or
            attention are compared, counted from 1; layer 0 is the embeddings.
    """

    name = ""
    passes = "all"
    columns: tuple[str, ...] = ()
    needs_hidden_states = False
    needs_token_scores = False
    state_pairs: Sequence[tuple[int, int]] = ()
    attention_pairs: Sequence[tuple[int, int]] = ()

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.weight = weight

    def share(self, num_passes: int) -> float:
        """Share of the step's passes that this term learns from."""
        return {"all": 1.0, "full": 1 / num_passes, "smaller": (num_passes - 1) / num_passes}[self.passes]

    def forward(self, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The loss, a scalar mean over the batch with its labels; `None` where the batch has nothing for this term."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(outputs, batch).")


class LabelsTerm(Term):
    """The task's own loss, from the labels; with a loss of rankings, from the grades of each query's passages."""

    name, passes = "labels", "full"

    def __init__(self, weight: float, ranking_loss: str | None = None):
        super().__init__(weight)
        self.ranking_loss = ranking_loss

    def forward(self, outputs, batch):
        if self.ranking_loss is None:
            return label_loss(outputs.full, batch)
        return ranking_divergence(self.ranking_loss, outputs.full.logits, batch["labels"], batch)


class PredictionTerm(Term):
    """Prediction-layer distillation (TinyBERT, arXiv 1909.10351, equation 10): the student learns a teacher's answers."""

    name, passes = "prediction", "full"

    def __init__(self, weight: float, temperature: float, ranking_loss: str | None = None):
        super().__init__(weight)
        self.temperature, self.ranking_loss = temperature, ranking_loss

    def forward(self, outputs, batch):
        answers, full = outputs.answers, outputs.full
        if LOGITS in answers and self.ranking_loss is not None:
            return ranking_divergence(self.ranking_loss, full.logits, answers[LOGITS], batch, self.temperature)
        if LOGITS in answers:
            return losses.logit_divergence(full.logits, answers[LOGITS], problem_type_of(outputs.config), self.temperature)
        if TARGETS[0] not in answers:
            return None
        start, end = (answers[name] for name in TARGETS)
        return mean_over_ends(losses.target_divergence, full, start, end, token_mask(batch), self.temperature)


class LayerTerm(Term):
    """A loss between layers of the student and of the teacher, summed over pairs of layers and over `reads`.

    `reads` are methods of [`LayerOutputs`]. The loss takes their results for both layers and the mask of compared tokens.
    """

    passes = "full"

    def __init__(self, weight: float, name: str, loss: Callable, reads: list[Callable], state_pairs=(), attention_pairs=()):
        super().__init__(weight)
        self.name, self.loss, self.reads = name, loss, reads
        self.state_pairs, self.attention_pairs = state_pairs, attention_pairs

    def forward(self, outputs, batch):
        student, teacher = outputs.student_layers, outputs.teacher_layers
        compared = [
            self.loss(read(student, student_layer), read(teacher, teacher_layer), outputs.compared)
            for student_layer, teacher_layer in (*self.state_pairs, *self.attention_pairs)
            for read in self.reads
        ]
        return sum(compared)


class InPlaceTerm(Term):
    """In-place distillation (arXiv 2010.07003, section 3.2): the smaller sub-networks learn the full-length answers.

    With `dropped_logits="restore"` a dropped token can be an answer, so this term counts it; with `"mask"` it does not.
    """

    name, passes = "in_place", "smaller"

    def __init__(self, weight: float, temperature: float, reverse: bool, ranking_loss: str | None = None):
        super().__init__(weight)
        self.options, self.ranking_loss = (temperature, reverse), ranking_loss

    def forward(self, outputs, batch):
        divergences = [self._divergence(output, outputs, batch) for output in outputs.smaller]
        return sum(divergences) / len(divergences) if divergences else None

    def _divergence(self, output, outputs: PassOutputs, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        full, config = outputs.full, outputs.config
        if self.ranking_loss is not None:
            return ranking_divergence(self.ranking_loss, output.logits, full.logits, batch, *self.options)
        if "logits" in full:
            return losses.logit_divergence(output.logits, full.logits, problem_type_of(config), *self.options)
        mask = token_mask(batch)
        if config.dropped_logits == "mask" and output.kept_tokens is not None:
            mask = mask & output.kept_tokens
        return mean_over_ends(losses.divergence, output, full.start_logits, full.end_logits, mask, *self.options)


class ImportanceTerm(Term):
    """Learned importance: the scorers learn which tokens the answer depends on, by the strategy's own loss.

    The target is the answer distribution of the full-length pass or of the teacher; for classes, the saliency of each
    layer's states. The loss is a mean over layers and passes.
    """

    name = "importance"
    needs_token_scores = True

    def __init__(self, weight: float, target: str, classifies: bool):
        super().__init__(weight)
        self.target, self.needs_hidden_states = target, classifies

    def forward(self, outputs, batch):
        config = outputs.config
        loss_of = getattr(IMPORTANCES[config.importance], "loss", losses.soft_cross_entropy)
        candidates, targets = self._candidates(config, batch), self._targets(outputs, batch)
        found = []
        for sub_network, output in zip(outputs.sub_networks, [outputs.full, *outputs.smaller], strict=True):
            scored = [layer for layer, _ in sub_network.layer_entries(config) if layer in dropping_layers(config)]
            for layer, scores in zip(scored, output.token_scores, strict=True):
                if layer in targets:  # LayerDrop may have left the layer out of the full-length pass
                    found.append(loss_of(scores, targets[layer], candidates & torch.isfinite(scores)))
        return sum(found) / len(found) if found else None

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
        """The target of each layer, `(B, L)`."""
        full, config = outputs.full, outputs.config
        if self.target == "teacher":
            if TARGETS[0] not in outputs.answers:
                raise ValueError(
                    "importance_target='teacher' needs a teacher's start and end distributions: teacher=... or the columns "
                    "of teacher_predictions(...). Classifiers take only 'own'."
                )
            start, end = (outputs.answers[name] for name in TARGETS)
        elif "logits" in full:
            layers = [layer for layer, _ in outputs.sub_networks[0].layer_entries(config)]
            return dict(zip(layers, losses.saliency(full.logits, full.hidden_states[1:]), strict=True))
        else:
            mask = token_mask(batch)
            start, end = (losses.log_probabilities(logits, mask).exp() for logits in (full.start_logits, full.end_logits))
        return dict.fromkeys(range(config.num_hidden_layers), (start + end) / 2)


def build_terms(args, student, teacher=None) -> list[Term]:
    """The terms to which the arguments give a weight. Refuses layers of student and teacher that cannot be compared."""
    head = head_of(student)
    terms: list[Term] = []
    if args.hard_label_weight:
        terms.append(LabelsTerm(args.hard_label_weight, args.ranking_loss))
    if args.prediction_weight and head is not None:
        terms.append(PredictionTerm(args.prediction_weight, args.teacher_temperature, args.ranking_loss))
    if args.learns_layers:
        if teacher is None:
            raise ValueError(
                "hidden_weight, embedding_weight, attention_weight and relation_weight compare layers with a teacher's; "
                "give it: DistillationTrainer(model, args, teacher=...)."
            )
        terms += _layer_terms(args, student.config, teacher.config)
    if args.length_drop:
        terms.append(InPlaceTerm(1.0, args.temperature, args.preset == "length-adaptive-transformer", args.ranking_loss))
        if IMPORTANCES[student.config.importance].is_learned and args.importance_weight:
            terms.append(ImportanceTerm(args.importance_weight, args.importance_target, classifies=head == "classes"))
    return terms


def _layer_terms(args, student, teacher) -> list[Term]:
    """The terms of TinyBERT (arXiv 1909.10351, equations 7 to 9), MiniLM (2002.10957) and MiniLMv2 (2012.15828)."""
    own_heads, teacher_heads = student.num_attention_heads, teacher.num_attention_heads
    compares_attention = args.attention_weight or (args.relation_weight and "attention" in args.relations)
    if compares_attention and own_heads != teacher_heads:
        raise ValueError(
            f"The student has {own_heads} attention heads, the teacher {teacher_heads}, so their attention cannot be "
            "compared. Use relation_weight with relations query, key, value, which are split into relation_heads."
        )
    terms: list[Term] = []
    states = losses.state_error, [LayerOutputs.states]
    if args.embedding_weight:
        terms.append(LayerTerm(args.embedding_weight, "embedding", *states, state_pairs=[(0, 0)]))
    if args.hidden_weight or args.attention_weight:
        pairs = list(enumerate(layer_map(args.layer_map, student.num_hidden_layers, teacher.num_hidden_layers), start=1))
        error = partial(losses.score_error, probabilities=args.attention_target == "probabilities")
        if args.hidden_weight:
            terms.append(LayerTerm(args.hidden_weight, "hidden", *states, state_pairs=pairs))
        if args.attention_weight:
            terms.append(LayerTerm(args.attention_weight, "attention", error, [LayerOutputs.scores], attention_pairs=pairs))
    if args.relation_weight:
        heads, layer = args.relation_heads or own_heads, args.relation_layer or teacher.num_hidden_layers
        widths = student.hidden_size, teacher.hidden_size
        if any(width % heads for width in widths):
            raise ValueError(f"relation_heads is {heads}; valid are divisors of both hidden sizes, {widths}.")
        if layer > teacher.num_hidden_layers:
            raise ValueError(f"relation_layer is {layer}; the teacher's layers are 1 to {teacher.num_hidden_layers}.")
        reads = [partial(LayerOutputs.scores, kind=kind, heads=heads) for kind in args.relations]
        pairs = [(student.num_hidden_layers, layer)]
        terms.append(LayerTerm(args.relation_weight, "relation", losses.relation_divergence, reads, attention_pairs=pairs))
    return terms


def head_of(model) -> str | None:
    """The kind of a model's outputs: `"spans"`, `"classes"` (also real numbers), or `None` without such a head."""
    parameters = inspect.signature(model.forward).parameters
    if "start_positions" in parameters:
        return "spans"
    return "classes" if "labels" in parameters else None


def label_loss(output, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
    """The task's loss of one output; `None` without labels. The loss of spans leaves padding out, unlike in transformers."""
    if all(name in batch for name in SPANS) and "start_logits" in output:
        return mean_over_ends(losses.span_loss, output, *(batch[name] for name in SPANS), token_mask(batch))
    return output.get("loss")


def ranking_divergence(
    kind: str, student: torch.Tensor, teacher: torch.Tensor, batch: dict, temperature: float = 1.0, reverse: bool = False
) -> torch.Tensor:
    """Loss of the scores of each query's passages, from logits `(B, 1)` or `(B, 2)`, see `args.ranking_loss`."""
    if GROUPS not in batch:
        raise ValueError(
            f"ranking_loss={kind!r} compares the passages of a query. Make rows of several passages with "
            "hf_dynbert.tasks.reranking.groups.group_passages, and pad them with DistillationCollator."
        )
    student, teacher = relevance(student), relevance(teacher)
    if kind == "margin_mse":
        return losses.margin_error(student, teacher, batch[GROUPS])
    return losses.list_divergence(student, teacher, batch[GROUPS], temperature, reverse)


def relevance(logits: torch.Tensor) -> torch.Tensor:
    """Scores `(B,)`: the one logit, or the second of two minus the first."""
    logits = logits.float()
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def mean_over_ends(loss: Callable, output, start: torch.Tensor, end: torch.Tensor, *args) -> torch.Tensor:
    """The mean of a loss of the start and of the end of a span."""
    return (loss(output.start_logits, start, *args) + loss(output.end_logits, end, *args)) / 2
