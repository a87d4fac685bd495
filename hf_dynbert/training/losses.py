# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Losses as pure tensor functions: means over examples that leave padding out. No gradient reaches the teacher.

Shapes: B examples, C classes or positions, L tokens, H hidden size, A heads. A mask is true where an entry counts.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def log_probabilities(logits: torch.Tensor, mask: torch.Tensor | None = None, temperature: float = 1.0) -> torch.Tensor:
    """Log-softmax in float32 over the entries that count."""
    logits = logits.float() / temperature
    if mask is not None:
        logits = logits.masked_fill(~mask, torch.finfo(torch.float32).min)
    return logits.log_softmax(dim=-1)


def divergence(
    student: torch.Tensor,
    teacher: torch.Tensor,
    mask: torch.Tensor | None = None,
    temperature: float = 1.0,
    reverse: bool = False,
) -> torch.Tensor:
    """KL(teacher ‖ student), or the `reverse`, of logits `(B, C)`, times the squared temperature (arXiv 1503.02531)."""
    student = log_probabilities(student, mask, temperature)
    teacher = log_probabilities(teacher.detach(), mask, temperature)
    if reverse:
        student, teacher = teacher, student
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def target_divergence(
    student: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """KL(target ‖ student) for a teacher's probabilities `(B, C)` at this temperature, times the squared temperature.

    It is TinyBERT's soft cross-entropy (arXiv 1909.10351, equation 10) minus the entropy of the target.
    """
    target = target.detach().float().masked_fill(~mask, 0.0)
    target = target / target.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return F.kl_div(log_probabilities(student, mask, temperature), target, reduction="batchmean") * temperature**2


def soft_cross_entropy(scores: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of token scores `(B, L)` with a target that is not negative, for learned importance.

    Each row of the target is normalised before the mask: an example counts by the share of its target within the mask.
    """
    target = target.detach().float()
    target = target / target.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return -(target * log_probabilities(scores, mask)).masked_fill(~mask, 0.0).sum(dim=-1).mean()


def logit_divergence(
    student: torch.Tensor, teacher: torch.Tensor, problem_type: str, temperature: float = 1.0, reverse: bool = False
) -> torch.Tensor:
    """Divergence of a classifier's logits `(B, C)`: of the softmax, of each label's sigmoid, or a squared error."""
    if problem_type == "regression":
        return F.mse_loss(student.float(), teacher.detach().float())
    if problem_type == "multi_label_classification":  # a softmax over (logit, 0) is the sigmoid of the logit
        student, teacher = (torch.stack([x, torch.zeros_like(x)], dim=-1).flatten(0, 1) for x in (student, teacher))
    return divergence(student, teacher, temperature=temperature, reverse=reverse)


def margin_error(student: torch.Tensor, teacher: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Squared error of the differences of scores `(B,)` within each group (Margin-MSE, arXiv 2010.02666, equation 1).

    All pairs of a group count; the loss is a mean over the pairs of a group, then over groups.
    """
    student, teacher = student.float(), teacher.detach().float()
    pairs = (groups[:, None] == groups).triu(diagonal=1)
    errors = (student[:, None] - student - (teacher[:, None] - teacher)).square()
    indices = groups.unique()
    means = [errors[pairs & (groups == index)[:, None]] for index in indices]
    return sum(found.mean() for found in means if len(found)) / len(indices) + 0 * student.sum()  # a group may have one


def list_divergence(
    student: torch.Tensor, teacher: torch.Tensor, groups: torch.Tensor, temperature: float = 1.0, reverse: bool = False
) -> torch.Tensor:
    """KL of the softmax of scores `(B,)` over each group, mean over groups (ListNet's top-one, ICML 2007, section 4.2)."""
    mask = groups.unique()[:, None] == groups
    return divergence(student.expand(len(mask), -1), teacher.expand(len(mask), -1), mask, temperature, reverse)


def span_loss(logits: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of one end of a span: logits `(B, L)`, positions `(B,)`. A position beyond the window has the loss 0."""
    width = logits.shape[1]
    losses = F.nll_loss(log_probabilities(logits, mask), positions.clamp(0, width), ignore_index=width, reduction="none")
    return losses.mean()


def state_error(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Squared error of states `(B, L, H)`, mean over an example's tokens (TinyBERT, arXiv 1909.10351, equations 8 and 9)."""
    errors = (student.float() - teacher.detach().float()).square().mean(dim=-1)
    return _mean_by_example(errors, mask)


def relation_scores(left: torch.Tensor, right: torch.Tensor, heads: int) -> torch.Tensor:
    """Scaled dot products of all pairs of tokens in each head, `(B, A, L, L)`, before the softmax.

    Queries with keys give attention scores. Queries, keys or values with themselves give the relations of MiniLM (arXiv
    2002.10957, equation 8) and MiniLMv2 (2012.15828, equation 7).
    """
    left, right = (states.float().unflatten(-1, (heads, -1)).transpose(1, 2) for states in (left, right))
    return left @ right.transpose(-1, -2) / left.shape[-1] ** 0.5


def relation_divergence(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """KL(teacher ‖ student) of scores `(B, A, L, L)`, mean over heads and tokens (arXiv 2002.10957, equations 7 and 9)."""
    keys = mask[:, None, None]
    student, teacher = log_probabilities(student, keys), log_probabilities(teacher.detach(), keys)
    divergences = F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)
    return _mean_by_example(divergences.mean(dim=1), mask)


def score_error(
    student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor, probabilities: bool = False
) -> torch.Tensor:
    """Squared error of attention scores `(B, A, L, L)`, mean over heads and pairs of tokens (TinyBERT, arXiv 1909.10351,
    equation 7), or of their softmax, as Dynamic-TinyBERT's published code computes it (2111.09645).
    """
    student, teacher, keys = student.float(), teacher.detach().float(), mask[:, None, None]
    if probabilities:
        student, teacher = log_probabilities(student, keys).exp(), log_probabilities(teacher, keys).exp()
    errors = (student - teacher).masked_fill(~keys, 0.0).square().mean(dim=1)
    return _mean_by_example(errors.sum(dim=-1) / mask.sum(dim=-1, keepdim=True).clamp(min=1), mask)


def saliency(logits: torch.Tensor, hidden_states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """How much each example's highest logit depends on each token: |gradient · state|, `(B, L)` for each layer's states."""
    best = logits.float().max(dim=-1).values.sum()
    gradients = torch.autograd.grad(best, hidden_states, retain_graph=True)
    return [
        (state.detach().float() * gradient.float()).sum(dim=-1).abs()
        for state, gradient in zip(hidden_states, gradients, strict=True)
    ]


def _mean_by_example(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of `(B, L)` over the tokens that count in each example, then over examples."""
    return (values.masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)).mean()
