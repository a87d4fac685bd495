# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Late interaction between a question and the passages around each token, as pure tensor functions.

Early layers do not know yet which word answers a question, but they can see where the question's words are spoken of. As in
ColBERT (arXiv 2004.12832, section 3.3) every term of the question looks for its best match, here within a window around each
token, and the matches add up.

Shapes: B examples, N slots, J terms, H hidden size, R dimensions of the match, W windows.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .drop_and_restore import compact_slots, data_size, take_tokens


TINY = 1e-12  # a vector of zeros matches nothing, and nothing else changes by it


def take_segment(tokens: torch.Tensor, segment: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of a segment, one behind the other.

    Args:
        tokens (`torch.Tensor` of shape `(B, N, H)`): states of all tokens.
        segment (`torch.BoolTensor` of shape `(B, N)`): the segment.

    Returns:
        `torch.Tensor` of shape `(B, J, H)`, and `torch.BoolTensor` of shape `(B, J)`: which of them are in the segment.
    """
    if torch.compiler.is_compiling():  # gathering fewer rows makes shapes depend on data
        return tokens, segment
    slots, filled = compact_slots(segment, data_size(segment.sum(dim=1).max().clamp(min=1)))
    return take_tokens(tokens, slots), filled


def soft_matches(keys: torch.Tensor, queries: torch.Tensor, slope: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """How well each term matches each token: a sigmoid of their cosine.

    Args:
        keys (`torch.Tensor` of shape `(B, N, R)`): one vector a token.
        queries (`torch.Tensor` of shape `(B, J, R)`): one a term.
        slope, threshold (`torch.Tensor`, scalars): of the sigmoid's argument, `slope * cosine - threshold`.

    Returns:
        `torch.FloatTensor` of shape `(B, J, N)`, in (0, 1).
    """
    cosine = unit_vectors(keys) @ unit_vectors(queries).transpose(1, 2)  # few queries are faster to rearrange than all keys
    return torch.sigmoid(slope * cosine.float() - threshold).transpose(1, 2)


def unit_vectors(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors `(..., R)` divided by their lengths, in fp32; runtimes know this form as one operation."""
    size = int(vectors.shape[-1])
    weight = torch.full((size,), size**-0.5, device=vectors.device)  # a root mean square of 1 is a length of sqrt(R)
    return F.rms_norm(vectors.float(), (size,), weight, eps=TINY)


def window_coverage(matches: torch.Tensor, weights: torch.Tensor, windows: Sequence[int]) -> torch.Tensor:
    """How much of the terms is spoken of near each token: each term's best match in a window, weighted and summed.

    Args:
        matches (`torch.FloatTensor` of shape `(B, J, N)`): non-negative, 0 where a token must not speak for others.
        weights (`torch.FloatTensor` of shape `(B, J, W)`): of each term in each window, 0 where there is no term.
        windows (`Sequence[int]`): slots on each side of a token.

    Returns:
        `torch.FloatTensor` of shape `(B, N)`: the sum over the windows.
    """
    best, near = {0: matches}, 0
    for window in sorted(set(windows) - {0}):  # from the one before: the best near the best is the best further away
        wider = window - near
        best[window], near = F.max_pool1d(best[near], 2 * wider + 1, stride=1, padding=wider), window
    best = [best[window] for window in windows]
    by_window = weights.transpose(1, 2).flatten(1)[:, None]  # (B, 1, W * J): one product for all windows
    return (by_window @ torch.cat(best, dim=1)).squeeze(1).float()
