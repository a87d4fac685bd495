# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Losses as pure tensor functions. Each is a mean over examples and leaves padding out.

Shapes: B examples, C classes or positions, L tokens, H hidden size, A heads.
"""

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
            these entries.
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


def logit_divergence(
    student: torch.Tensor,
    teacher: torch.Tensor,
    problem_type: str,
    temperature: float = 1.0,
    direction: str = "forward",
) -> torch.Tensor:
    """How far a classifier's logits are from others, by what the logits mean; mean over examples.

    Args:
        student (`torch.FloatTensor` of shape `(B, C)`): logits that learn.
        teacher (`torch.FloatTensor` of shape `(B, C)`): logits to learn from; no gradient reaches them.
        problem_type (`str`): `"single_label_classification"`: divergence of the softmax distributions, see `divergence`.
            `"multi_label_classification"`: divergence of each label's sigmoid probability, mean over labels.
            `"regression"`: mean squared error.
        temperature (`float`, *optional*, defaults to 1): divides both logits of a classification.
        direction (`str`, *optional*, defaults to `"forward"`): see `divergence`.

    Returns:
        `torch.FloatTensor`: a scalar, 0 for equal logits.
    """
    if problem_type == "regression":
        return F.mse_loss(student.float(), teacher.detach().float())
    if problem_type == "multi_label_classification":
        # A softmax over (logit, 0) is the sigmoid of the logit: each label is a distribution of its own.
        student, teacher = (torch.stack([x, torch.zeros_like(x)], dim=-1).flatten(0, 1) for x in (student, teacher))
    return divergence(student, teacher, temperature=temperature, direction=direction)


def span_loss(logits: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of one end of a span over the tokens that count, mean over examples.

    Args:
        logits (`torch.FloatTensor` of shape `(B, L)`): scores of the tokens.
        positions (`torch.LongTensor` of shape `(B,)`): tokens to find. A position beyond the window has the loss 0, as in
            transformers.
        mask (`torch.BoolTensor` of shape `(B, L)`): real tokens.

    Returns:
        `torch.FloatTensor`: a scalar.
    """
    width = logits.shape[1]
    logits = logits.float().masked_fill(~mask, torch.finfo(torch.float32).min)
    losses = F.cross_entropy(logits, positions.clamp(0, width), ignore_index=width, reduction="none")
    return losses.mean()


def soft_cross_entropy(scores: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of token scores against a distribution over the tokens, mean over examples.

    Args:
        scores (`torch.FloatTensor` of shape `(B, C)`): scores that learn; normalised over the entries that count.
        target (`torch.FloatTensor` of shape `(B, C)`): non-negative; each row is normalised to sum to 1 before the
            mask. The weight of an example is its probability on the entries that count.
        mask (`torch.BoolTensor` of shape `(B, C)`): entries that count.

    Returns:
        `torch.FloatTensor`: a scalar.
    """
    target = target.detach().float()
    target = target / target.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(target.dtype).tiny)
    log_probabilities = scores.float().masked_fill(~mask, torch.finfo(torch.float32).min).log_softmax(dim=-1)
    return -(target * log_probabilities).masked_fill(~mask, 0.0).sum(dim=-1).mean()


def target_divergence(
    scores: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Kullback-Leibler divergence from a distribution, mean over examples, times the squared temperature.

    The soft cross-entropy (TinyBERT, arXiv 1909.10351, equation 10) minus the target's entropy, so that its minimum is 0.

    Args:
        scores (`torch.FloatTensor` of shape `(B, C)`): logits that learn.
        target (`torch.FloatTensor` of shape `(B, C)`): a teacher's probabilities, computed at the same temperature.
        mask (`torch.BoolTensor` of shape `(B, C)`): entries that count; both are normalised over these entries.
        temperature (`float`, *optional*, defaults to 1): divides the scores.

    Returns:
        `torch.FloatTensor`: a scalar.
    """
    target = target.detach().float().masked_fill(~mask, 0.0)
    target = target / target.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(target.dtype).tiny)
    entropy = -torch.xlogy(target, target).sum(dim=-1).mean()
    return (soft_cross_entropy(scores / temperature, target, mask) - entropy) * temperature**2


def answer_distribution(start_logits: torch.Tensor, end_logits: torch.Tensor) -> torch.Tensor:
    """Mean of the start and end distributions, `(B, C)`."""
    return (F.softmax(start_logits.float(), dim=-1) + F.softmax(end_logits.float(), dim=-1)) / 2


def state_error(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean squared error of hidden states or embeddings (TinyBERT, arXiv 1909.10351, equations 8 and 9).

    Args:
        student (`torch.Tensor` of shape `(B, L, H)`): states that learn, in the teacher's width.
        teacher (`torch.Tensor` of shape `(B, L, H)`): states to learn from; no gradient reaches them.
        mask (`torch.BoolTensor` of shape `(B, L)`): tokens that count.

    Returns:
        `torch.FloatTensor`: a scalar; mean over an example's tokens and the width, then over examples.
    """
    errors = (student.float() - teacher.detach().float()).square().mean(dim=-1)
    return _mean_by_example(errors, mask)


def relation_scores(left: torch.Tensor, right: torch.Tensor, heads: int) -> torch.Tensor:
    """Scaled dot products of every pair of tokens in each head, before the softmax.

    Queries with keys give a layer's attention scores. Queries, keys or values with themselves give the self-attention
    relations of MiniLM (arXiv 2002.10957, equation 8) and MiniLMv2 (2012.15828, equation 7), whose number of heads is free.

    Args:
        left, right (`torch.Tensor` of shape `(B, L, H)`): projected states; `H` is a multiple of `heads`.
        heads (`int`): number of parts that the width is split into.

    Returns:
        `torch.FloatTensor` of shape `(B, A, L, L)`.
    """
    if left.shape[-1] % heads:
        raise ValueError(
            f"{left.shape[-1]} dimensions cannot be split into {heads} relation heads; valid are divisors of that number."
        )
    left, right = (states.float().unflatten(-1, (heads, -1)).transpose(1, 2) for states in (left, right))
    return left @ right.transpose(-1, -2) / left.shape[-1] ** 0.5


def relation_divergence(student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """KL(teacher ‖ student) of the relations of each token (MiniLM, arXiv 2002.10957, equations 7 and 9; MiniLMv2, 5).

    Args:
        student (`torch.FloatTensor` of shape `(B, A, L, L)`): scores that learn, see `relation_scores`.
        teacher (`torch.FloatTensor` of shape `(B, A, L, L)`): scores to learn from; no gradient reaches them.
        mask (`torch.BoolTensor` of shape `(B, L)`): tokens that count, as queries and as keys.

    Returns:
        `torch.FloatTensor`: a scalar; mean over heads and an example's tokens, then over examples.
    """
    keys = mask[:, None, None]
    student, teacher = (
        scores.float().masked_fill(~keys, torch.finfo(torch.float32).min).log_softmax(dim=-1)
        for scores in (student, teacher.detach())
    )
    terms = (teacher.exp() * (teacher - student)).masked_fill(~keys, 0.0)
    return _mean_by_example(terms.sum(dim=-1).mean(dim=1), mask)


def score_error(
    student: torch.Tensor, teacher: torch.Tensor, mask: torch.Tensor, probabilities: bool = False
) -> torch.Tensor:
    """Mean squared error of attention (TinyBERT, arXiv 1909.10351, equation 7).

    Args:
        student (`torch.FloatTensor` of shape `(B, A, L, L)`): scores before the softmax that learn, see `relation_scores`.
        teacher (`torch.FloatTensor` of shape `(B, A, L, L)`): scores to learn from; no gradient reaches them.
        mask (`torch.BoolTensor` of shape `(B, L)`): tokens that count, as queries and as keys.
        probabilities (`bool`, *optional*, defaults to `False`): compare the softmax of the scores, as
            Dynamic-TinyBERT's published code does (2111.09645), rather than the scores, as TinyBERT does.

    Returns:
        `torch.FloatTensor`: a scalar; mean over heads and an example's pairs of tokens, then over examples.
    """
    student, teacher, keys = student.float(), teacher.detach().float(), mask[:, None, None]
    if probabilities:
        lowest = torch.finfo(torch.float32).min
        student, teacher = (scores.masked_fill(~keys, lowest).softmax(dim=-1) for scores in (student, teacher))
    errors = (student - teacher).masked_fill(~keys, 0.0).square().mean(dim=1)  # (B, L, L)
    return _mean_by_example(errors.sum(dim=-1) / mask.sum(dim=-1, keepdim=True).clamp(min=1), mask)


def _mean_by_example(terms: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of terms `(B, L)` over the tokens that count in each example, then over examples."""
    return (terms.masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)).mean()


def saliency(logits: torch.Tensor, hidden_states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """How much a classification depends on each token, layer by layer: absolute value of gradient times input.

    Args:
        logits (`torch.FloatTensor` of shape `(B, C)`): the predictions; each example's highest logit is explained.
        hidden_states (`list[torch.FloatTensor]` of shape `(B, L, H)`): states from which the logits were computed.

    Returns:
        `list[torch.FloatTensor]`: one of shape `(B, L)` for each layer, without gradients. Zero for a token that the logits
            do not depend on.
    """
    best = logits.float().max(dim=-1).values.sum()
    gradients = torch.autograd.grad(best, hidden_states, retain_graph=True)
    return [
        (state.detach().float() * gradient.float()).sum(dim=-1).abs()
        for state, gradient in zip(hidden_states, gradients, strict=True)
    ]
