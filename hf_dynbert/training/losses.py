# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Losses as pure tensor functions; B examples, C classes or positions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F


DIRECTIONS = ("forward", "reference")


def divergence(
    student: torch.Tensor,
    teacher: torch.Tensor,
    mask: torch.Tensor | None = None,
    temperature: float = 1.0,
    direction: str = "forward",
) -> torch.Tensor:
    """Kullback-Leibler divergence between two predictions, mean over examples, times the squared temperature.

    Args:
        student (`torch.FloatTensor` of shape `(B, C)`): logits that learn.
        teacher (`torch.FloatTensor` of shape `(B, C)`): logits to learn from; no gradient reaches them.
        mask (`torch.BoolTensor` of shape `(B, C)`, *optional*): entries that count; both predictions are normalised over
            them alone.
        temperature (`float`, *optional*, defaults to 1): softens both predictions (arXiv 1503.02531, section 2).
        direction (`str`, *optional*, defaults to `"forward"`): `"forward"` is KL(teacher ‖ student); `"reference"` is
            KL(student ‖ teacher), what the published code of the Length-Adaptive Transformer (arXiv 2010.07003) computes,
            its arguments being swapped.

    Returns:
        `torch.FloatTensor`: a scalar, 0 for equal predictions.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is {direction!r}; valid are {', '.join(map(repr, DIRECTIONS))}.")
    student, teacher = student.float() / temperature, teacher.detach().float() / temperature
    if mask is not None:
        lowest = torch.finfo(student.dtype).min
        student, teacher = student.masked_fill(~mask, lowest), teacher.masked_fill(~mask, lowest)
    student, teacher = student.log_softmax(dim=-1), teacher.log_softmax(dim=-1)
    if direction == "forward":
        terms = teacher.exp() * (teacher - student)
    else:
        terms = student.exp() * (student - teacher)
    if mask is not None:
        terms = terms.masked_fill(~mask, 0.0)
    return terms.sum(dim=-1).mean() * temperature**2


def soft_cross_entropy(scores: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of token scores against a distribution over the tokens, mean over examples.

    Args:
        scores (`torch.FloatTensor` of shape `(B, C)`): scores that learn; normalised over the entries that count.
        target (`torch.FloatTensor` of shape `(B, C)`): non-negative; each row is made to sum to 1. What it has on entries
            that do not count is lost, so an example weighs as much as it has on those that do.
        mask (`torch.BoolTensor` of shape `(B, C)`): entries that count.

    Returns:
        `torch.FloatTensor`: a scalar.
    """
    target = target.detach().float()
    target = target / target.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(target.dtype).tiny)
    log_probabilities = scores.float().masked_fill(~mask, torch.finfo(torch.float32).min).log_softmax(dim=-1)
    return -(target * log_probabilities).masked_fill(~mask, 0.0).sum(dim=-1).mean()


def answer_distribution(start_logits: torch.Tensor, end_logits: torch.Tensor) -> torch.Tensor:
    """Where a model sees the ends of the answer: mean of its start and end distributions, `(B, C)`."""
    return (F.softmax(start_logits.float(), dim=-1) + F.softmax(end_logits.float(), dim=-1)) / 2


def saliency(logits: torch.Tensor, hidden_states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """How much a classification hangs on each token, layer by layer: gradient times input, in absolute value.

    Args:
        logits (`torch.FloatTensor` of shape `(B, C)`): the predictions; each example's highest is what is explained.
        hidden_states (`list[torch.FloatTensor]` of shape `(B, L, H)`): states in the graph that made the logits.

    Returns:
        `list[torch.FloatTensor]`: one of shape `(B, L)` a layer, without gradients. Zero where nothing reads a token.
    """
    best = logits.float().max(dim=-1).values.sum()
    gradients = torch.autograd.grad(best, hidden_states, retain_graph=True)
    return [
        (state.detach().float() * gradient.float()).sum(dim=-1).abs()
        for state, gradient in zip(hidden_states, gradients, strict=True)
    ]
