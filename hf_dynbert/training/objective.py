# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The training objective as one module: it draws the sub-networks of a step and runs all passes in one `forward`.

DistributedDataParallel, gradient clipping and mixed precision therefore see one forward and all trained parameters.
"""

import dataclasses
import inspect
import random
from collections.abc import Sequence

import torch
from torch import nn

from ..budgets.sampling import constant_drop, fit_length_config, sample_length_config, sample_placement, sample_subnetwork
from ..subnetwork import FULL, SubNetwork, dropping_layers
from .batches import (
    ANSWERS,
    GROUPS,
    INPUTS,
    LOGITS,
    MASK,
    PLACES,
    TARGETS,
    TEACHER_INPUTS,
    TYPES,
    budget_argument,
    token_mask,
)
from .layers import LayerOutputs, capture_attention
from .losses import log_probabilities
from .teachers import label_order
from .terms import PassOutputs, Term, build_terms, head_of


FEATURES = ("input_ids", "attention_mask", "token_type_ids")
LARGEST_DROP = 0.2  # largest share of its incoming tokens that a layer drops in the presets' papers


class Objective(nn.Module):
    """The student, everything that is trained with it, and the losses of one step.

    Its parameters are those of the student, of the projection to the teacher's width, and of the terms. Only the full-length
    pass takes the columns `label_names`.
    """

    def __init__(self, student, args, teacher=None, label_names: Sequence[str] = (), extra_terms: Sequence[Term] = ()):
        super().__init__()
        self.student, self.args, self.label_names = student, args, tuple(label_names)
        self.terms = nn.ModuleList([*build_terms(args, student, teacher), *extra_terms])
        self.__dict__["teacher"] = teacher  # not as a sub-module: neither an optimizer nor a checkpoint must contain it
        self._compares_layers = any(term.state_pairs or term.attention_pairs for term in self.terms)
        self.projection = None
        if any(term.state_pairs for term in self.terms) and student.config.hidden_size != teacher.config.hidden_size:
            self.projection = nn.Linear(student.config.hidden_size, teacher.config.hidden_size)

    def forward(self, batch: dict[str, torch.Tensor], step: int = 0) -> dict[str, torch.Tensor]:
        """Returns `loss`, to minimise, and the loss of each term by name, detached and without its weight.

        The sub-networks of a step depend on the seed and on the step alone.
        """
        outputs = self._run_passes(batch, step)
        losses, total = {}, None
        with torch.autocast(token_mask(batch).device.type, enabled=False):  # losses are computed in float32
            for term in self.terms:
                loss = term(outputs, batch)
                if loss is not None:
                    losses[term.name] = loss.detach()
                    weighted = term.weight * term.share(len(outputs.sub_networks)) * loss
                    total = weighted if total is None else total + weighted
        if total is None:
            raise ValueError(
                f"No loss can use {', '.join(batch)}; give labels, teacher=..., teacher_predictions or teacher_logits."
            )
        return {"loss": total} | losses

    def extra_state(self) -> dict[str, torch.Tensor]:
        """State that checkpoints store in addition to the student: the projection, and parameters of the terms."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("student.")}

    def _run_passes(self, batch: dict[str, torch.Tensor], step: int) -> PassOutputs:
        unread = {*ANSWERS, *TEACHER_INPUTS, GROUPS, *(column for term in self.terms for column in term.columns)}
        inputs = {name: value for name, value in batch.items() if name not in unread}
        unlabelled = {name: value for name, value in inputs.items() if name not in self.label_names}
        sub_networks = [SubNetwork()]
        if self.args.length_drop:
            rng = random.Random(f"{self.args.seed}-{step}")
            sub_networks = sample_sandwich(rng, self.student.config, self.args)
        scores = {"output_token_scores": True} if any(term.needs_token_scores for term in self.terms) else {}
        states = any(term.needs_hidden_states or term.state_pairs for term in self.terms)
        budgets = [budget_argument(self.student, sub_network) for sub_network in sub_networks]
        with capture_attention(self.student, self._attention_layers(0)) as attention:
            full = self.student(**inputs, **budgets[0], **scores, output_hidden_states=states)
        outputs = PassOutputs(self.student.config, sub_networks, full)
        outputs.smaller = [self.student(**unlabelled, **budget, **scores) for budget in budgets[1:]]
        outputs.answers = {name: batch[name] for name in ANSWERS if name in batch}
        if self._compares_layers:
            heads = self.student.config.num_attention_heads
            outputs.student_layers = LayerOutputs(full.hidden_states, attention, heads, projection=self.projection)
            outputs.compared = token_mask(batch) & (batch[PLACES] >= 0) if PLACES in batch else token_mask(batch)
        learns_answers = self.args.learns_answers and head_of(self.student) is not None and not outputs.answers
        if self.teacher is not None and (self._compares_layers or learns_answers):
            self._run_teacher(batch, outputs, learns_answers)
        return outputs

    def _attention_layers(self, side: int) -> list[int]:
        """Layers whose attention is compared, of the student (0) or of the teacher (1)."""
        return sorted({pair[side] for term in self.terms for pair in term.attention_pairs})

    @torch.no_grad()
    def _run_teacher(self, batch: dict[str, torch.Tensor], outputs: PassOutputs, learns_answers: bool) -> None:
        """Adds the teacher's layers and answers to the outputs, at the student's tokens."""
        teacher, positions = self.teacher.eval(), batch.get(PLACES)
        if INPUTS in batch:
            inputs = {name.removeprefix("teacher_"): batch[name] for name in (INPUTS, TYPES, MASK) if name in batch}
        else:
            read = inspect.signature(teacher.forward).parameters
            inputs = {name: batch[name] for name in FEATURES if name in batch and name in read}
        with capture_attention(teacher, self._attention_layers(1)) as attention:
            output = teacher(**inputs, **budget_argument(teacher), output_hidden_states=self._compares_layers)
        if self._compares_layers:
            heads = teacher.config.num_attention_heads
            places = None if positions is None else positions.clamp(min=0)  # -1: not compared, any position will do
            outputs.teacher_layers = LayerOutputs(output.hidden_states, attention, heads, places)
        if learns_answers and "logits" in output:
            order = label_order(self.student.config.id2label, teacher.config.id2label)
            outputs.answers = {LOGITS: output.logits.float()[:, order]}
        elif learns_answers:
            for name, logits in zip(TARGETS, (output.start_logits, output.end_logits), strict=True):
                probabilities = log_probabilities(logits, token_mask(inputs), self.args.teacher_temperature).exp()
                if positions is not None:
                    probabilities = probabilities.gather(1, positions.clamp(min=0)).masked_fill(positions < 0, 0.0)
                outputs.answers[name] = probabilities


def sample_sandwich(rng: random.Random, config, args) -> list[SubNetwork]:
    """The passes of one step: full length, the smallest with `args.always_smallest`, and `args.num_sandwich` others."""
    layers, dropping = config.num_hidden_layers, dropping_layers(config)
    bound = LARGEST_DROP if args.preset else None
    if bound is None:
        smallest = SubNetwork(fit_length_config(config, args.smallest_macs, sample_placement(rng, dropping)))
    else:
        smallest = SubNetwork(constant_drop(layers, bound, dropping))
    between = []
    for _ in range(args.num_sandwich):
        if bound is None:
            between.append(sample_subnetwork(rng, config, args.smallest_macs, args.largest_macs))
        else:
            between.append(SubNetwork(sample_length_config(rng, layers, bound, dropping)))
    budgets = [name for name in config.budgets or {} if name != FULL] if args.budget_prob else []
    for index in range(len(between)):
        if budgets and rng.random() < args.budget_prob:
            between[index] = config.resolve_budget(rng.choice(budgets))
    passes = [SubNetwork(), *([smallest] if args.always_smallest else []), *between]
    return [_drop_layers(rng, sub_network, layers, args.layer_dropout_prob) for sub_network in passes]


def _drop_layers(rng: random.Random, sub_network: SubNetwork, num_layers: int, dropout: float) -> SubNetwork:
    """LayerDrop: leaves out each layer with this probability, unless the sub-network lists its layers; at least one runs."""
    if dropout == 0 or sub_network.layers is not None:
        return sub_network
    kept = [layer for layer in range(num_layers) if rng.random() >= dropout]
    return dataclasses.replace(sub_network, layers=tuple(kept or [rng.randrange(num_layers)]))
