# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The training objective as one module: it runs all passes of a step in one `forward`.

DistributedDataParallel, gradient clipping and mixed precision therefore see one forward and all trained parameters.
"""

import inspect
import random
from collections.abc import Sequence

import torch
from torch import nn

from ..subnetwork import SubNetwork
from .attention_capture import capture_attention
from .batches import (
    ANSWERS,
    INPUTS,
    LOGITS,
    MASK,
    PLACES,
    TARGETS,
    TEACHER_INPUTS,
    TYPES,
    at_full_length,
    token_mask,
)
from .layer_comparison import LayerOutputs, LayerPairs
from .length_drop import sample_sandwich
from .terms import PassOutputs, Term, build_terms, head_of


FEATURES = ("input_ids", "attention_mask", "token_type_ids")


class Teacher:
    """A frozen model that the student learns from. It is no module, so that no optimizer and no checkpoint contains it.

    Args:
        model (`PreTrainedModel`): any model for the student's task.
        pairs (`LayerPairs`, *optional*): layers to compare.
        temperature (`float`): divides the logits of spans.
        label_order (`list[int]`, *optional*): for each label of the student its index among the teacher's labels.
        answers (`bool`): whether its answers are learned, not its layers alone.
    """

    def __init__(self, model, pairs: LayerPairs | None, temperature: float, label_order: list[int] | None, answers: bool):
        self.model, self.pairs, self.temperature = model, pairs, temperature
        self.label_order, self.answers = label_order, answers
        self._parameters = inspect.signature(model.forward).parameters

    @torch.no_grad()
    def __call__(self, batch: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], LayerOutputs | None]:
        """The teacher's answers by column, at the student's tokens, and what the terms between layers compare.

        Args:
            batch (`dict[str, torch.Tensor]`): features; with `teacher_input_ids` the teacher reads its own tokens.
        """
        self.model.eval()
        inputs, layers = self._inputs(batch), self.pairs.teacher_attention if self.pairs else []
        with capture_attention(self.model, layers) as attention:
            output = self.model(**inputs, **at_full_length(self.model), output_hidden_states=self.pairs is not None)
        answers = self._answers(output, inputs, batch.get(PLACES)) if self.answers else {}
        if self.pairs is None:
            return answers, None
        outputs = LayerOutputs(output.hidden_states, attention)
        if PLACES in batch:
            outputs = outputs.take(batch[PLACES], self.pairs.teacher_states)
        return answers, outputs

    def _inputs(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if INPUTS in batch:
            return {name.removeprefix("teacher_"): batch[name] for name in (INPUTS, TYPES, MASK) if name in batch}
        return {name: batch[name] for name in FEATURES if name in batch and name in self._parameters}

    def _answers(self, output, inputs, positions: torch.Tensor | None) -> dict[str, torch.Tensor]:
        if "logits" in output:
            logits = output.logits.float()
            return {LOGITS: logits if self.label_order is None else logits[:, self.label_order]}
        if "start_logits" not in output:
            return {}
        padding = ~token_mask(inputs)
        answers = {}
        for name, logits in zip(TARGETS, (output.start_logits, output.end_logits), strict=True):
            probabilities = (logits.float().masked_fill(padding, -torch.inf) / self.temperature).softmax(dim=-1)
            if positions is not None:
                probabilities = probabilities.gather(1, positions.clamp(min=0)).masked_fill(positions < 0, 0.0)
            answers[name] = probabilities
        return answers


class Objective(nn.Module):
    """The student, what is trained beside it, and the losses of one step.

    The state dict contains the student under `student.`, the projection to the teacher's width under `projection.`, and
    parameters of the terms. It does not contain the teacher.

    Args:
        student (`PreTrainedModel`): the model to train.
        args ([`DistillationArguments`]): weights and settings.
        teacher (`PreTrainedModel`, *optional*): a frozen model to learn from.
        label_order (`list[int]`, *optional*): see [`Teacher`].
        label_names (`list[str]`, *optional*): columns that only the full-length pass takes.
        extra_terms (`list[Term]`, *optional*): further terms.

    Raises:
        ValueError: layers of student and teacher that cannot be compared.
    """

    def __init__(
        self,
        student,
        args,
        teacher=None,
        label_order: list[int] | None = None,
        label_names: Sequence[str] = (),
        extra_terms: Sequence[Term] = (),
    ):
        super().__init__()
        self.student, self.args, self.label_names = student, args, tuple(label_names)
        self.pairs = LayerPairs(student.config, teacher.config, args) if args.learns_layers else None
        self.teacher = None
        if teacher is not None:
            answers = args.learns_answers and head_of(student) is not None
            self.teacher = Teacher(teacher, self.pairs, args.teacher_temperature, label_order, answers)
        self.projection = None
        if self.pairs is not None and self.pairs.needs_projection:
            self.projection = nn.Linear(student.config.hidden_size, teacher.config.hidden_size)
        self.terms = nn.ModuleList([*build_terms(args, student, self.pairs), *extra_terms])

    def forward(self, batch: dict[str, torch.Tensor], step: int = 0) -> dict[str, torch.Tensor]:
        """Runs the passes of one step.

        Args:
            batch (`dict[str, torch.Tensor]`): features with labels and a teacher's columns.
            step (`int`): number of the step; together with the seed it decides which sub-networks run.

        Returns:
            `dict[str, torch.Tensor]`: `loss`, to minimise, and the loss of each term by name, detached and without its
            weight.

        Raises:
            ValueError: no term has anything to learn from in this batch.
        """
        outputs = self._run_passes(batch, step)
        losses, total = {}, None
        device = token_mask(batch).device
        with torch.autocast(device.type, enabled=False):  # losses are computed in float32
            for term in self.terms:
                loss = term(outputs, batch)
                if loss is not None:
                    losses[term.name] = loss.detach()
                    weighted = term.weight * term.share(len(outputs.sub_networks)) * loss
                    total = weighted if total is None else total + weighted
        if total is None:
            raise ValueError(
                f"The batch has nothing to learn from: its columns are {', '.join(batch)}. Give labels, a teacher, or the "
                "columns of teacher_predictions(...) or teacher_logits(...)."
            )
        return {"loss": total} | losses

    def extra_state(self) -> dict[str, torch.Tensor]:
        """What checkpoints keep beside the student: the projection, and parameters of the terms."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("student.")}

    def _run_passes(self, batch: dict[str, torch.Tensor], step: int) -> PassOutputs:
        columns = {*ANSWERS, *TEACHER_INPUTS}
        for term in self.terms:
            columns.update(term.columns)
        inputs = {name: value for name, value in batch.items() if name not in columns}
        unlabelled = {name: value for name, value in inputs.items() if name not in self.label_names}
        sub_networks = [SubNetwork()]
        if self.args.length_drop:
            rng = random.Random(f"{self.args.seed}-{step}")
            sub_networks = sample_sandwich(rng, self.student.config, self.args)
        scores = {"output_token_scores": True} if any(term.needs_token_scores for term in self.terms) else {}
        states = {"output_hidden_states": True} if any(term.needs_hidden_states for term in self.terms) else {}
        with capture_attention(self.student, self.pairs.student_attention if self.pairs else []) as attention:
            full = self._run(inputs, sub_networks[0], **scores, **states)
        outputs = PassOutputs(self.student.config, sub_networks, full)
        outputs.smaller = [self._run(unlabelled, sub_network, **scores) for sub_network in sub_networks[1:]]
        outputs.answers = {name: batch[name] for name in ANSWERS if name in batch}
        if self.teacher is not None and (self.pairs is not None or not outputs.answers):
            answers, outputs.teacher_layers = self.teacher(batch)
            outputs.answers = outputs.answers or answers  # those in the data were computed before, once
        if self.pairs is not None:
            outputs.student_layers = LayerOutputs(self._projected(full.hidden_states), attention)
            outputs.compared = token_mask(batch)
            if PLACES in batch:
                outputs.compared = outputs.compared & (batch[PLACES] >= 0)
        return outputs

    def _run(self, inputs: dict[str, torch.Tensor], sub_network: SubNetwork, **kwargs):
        if not hasattr(self.student.config, "resolve_budget"):  # a model of transformers, trained as it is
            return self.student(**inputs, **kwargs)
        return self.student(**inputs, budget=sub_network, **kwargs)

    def _projected(self, states: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor | None, ...]:
        """The student's compared states in the teacher's width."""
        compared = self.pairs.student_states
        if self.projection is None:
            return tuple(states)
        return tuple(self.projection(state) if layer in compared else None for layer, state in enumerate(states))
