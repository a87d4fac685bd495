# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Token importance: strategies that score tokens. A layer keeps the tokens with the highest scores.

To add a strategy, derive a class from [`Importance`], decorate it with `register_importance`, and load a model with
`importance="its name"`.

Shapes: B examples, N slots, J terms (tokens of the first segment), H hidden size, R dimensions of the match, W windows.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init

from .drop_and_restore import attention_received, compact_slots, data_size, take_tokens


TINY = 1e-12  # avoids division by 0 for a vector of zeros; too small to change other vectors
# Initial values of a scorer. A match is 1/2 at a cosine of 3/8: two states of one word are well above it, states of two
# words mostly below. The softplus of -0.7 is 0.4, so that four windows of ten terms give scores of a few units.
SLOPE, THRESHOLD, TERM_WEIGHT = 8.0, 3.0, -0.7
IMPORTANCES: dict[str, "Importance"] = {}  # strategies by name; `config.importance` is a name


class Importance:
    """A strategy that scores tokens.

    Attributes:
        is_learned (`bool`): whether `make_scorer` returns trainable parameters. The loss is a cross-entropy of the scores,
            or the strategy's own `loss(scores, target, mask)`.
        may_select_early (`bool`): whether scores depend on states alone, so that a layer can select tokens before its
            attention (`config.early_selection_until`).
    """

    is_learned = False
    may_select_early = False

    def make_scorer(self, config, layer_idx: int) -> nn.Module | None:
        """Returns the module `token_scorer` of one layer, or `None` if the strategy has no parameters."""
        return None

    def score(self, layer: nn.Module, states: torch.Tensor, tokens, attention) -> torch.Tensor:
        """Scores the tokens of a layer.

        Args:
            layer ([`DynamicTinyBertLayer`]): `layer.token_scorer` has the parameters.
            states (`torch.Tensor` of shape `(B, N, H)`): the states after attention, or with early selection before it.
            tokens ([`TokenState`]): the tokens in the slots, with `token_mask`, `first` and `segment`.
            attention ([`Attention`] or `None`): the layer's queries and keys; `None` with early selection.

        Returns:
            `torch.FloatTensor` of shape `(B, N)`: the importance of each token.
        """
        raise NotImplementedError


def register_importance(name: str):
    """Class decorator: makes a strategy available as `importance=name`."""

    def register(strategy_class: type[Importance]) -> type[Importance]:
        IMPORTANCES[name] = strategy_class()
        return strategy_class

    return register


class AttentionReceived(Importance):
    """Attention that a token receives from marked tokens (Length-Adaptive Transformer, arXiv 2010.07003, section 3.1)."""

    def __init__(self, query_mask: str):
        self.query_mask = query_mask  # name of a mask in `TokenState`

    def score(self, layer, states, tokens, attention):
        query_mask = getattr(tokens, self.query_mask)
        return attention_received(attention.query, attention.key, tokens.token_mask, query_mask, attention.scaling)


IMPORTANCES["all"] = AttentionReceived("token_mask")  # as in the papers
IMPORTANCES["question"] = AttentionReceived("segment")
IMPORTANCES["cls"] = AttentionReceived("first")


@register_importance("learned")
class LearnedImportance(Importance):
    """A trained scorer for each layer, see [`TokenScorer`]."""

    is_learned = True
    may_select_early = True

    def make_scorer(self, config, layer_idx):
        return TokenScorer(config, layer_idx)

    def score(self, layer, states, tokens, attention):
        scorer = layer.token_scorer
        return scorer(states, tokens.token_mask, tokens.segment, tokens.terms(states) if scorer.rank else None)


class TokenScorer(nn.Module):
    """Learned importance: a linear unit on a token's state, plus a match of the tokens around it with the question.

    The states of early layers show which words the question and a passage share. As in ColBERT (arXiv 2004.12832, section
    3.3), each term of the first segment takes its best match, here within several windows around each token. The weighted
    matches are added to the unit's score. If an example has no second segment, the unit alone scores its tokens.
    """

    def __init__(self, config, layer_idx: int = 0):
        super().__init__()
        until = config.importance_match_until
        self.rank = config.importance_match if until is None or layer_idx < until else 0
        self.windows = config.importance_windows
        self.unit = nn.Linear(config.hidden_size, 1)
        if self.rank:
            self.query = nn.Linear(config.hidden_size, self.rank, bias=False)
            self.key = nn.Linear(config.hidden_size, self.rank, bias=False)
            self.term_weight = nn.Linear(config.hidden_size, len(self.windows))
            self.slope = nn.Parameter(torch.tensor(SLOPE))
            self.threshold = nn.Parameter(torch.tensor(THRESHOLD))

    def initialize(self) -> None:
        """Sets initial values, with which a token's score counts the words around it that both segments share."""
        init.zeros_(self.unit.weight)
        init.zeros_(self.unit.bias)
        if self.rank:
            init.normal_(self.query.weight, std=self.rank**-0.5)  # a random projection nearly preserves cosines
            init.copy_(self.key.weight, self.query.weight)
            init.zeros_(self.term_weight.weight)
            init.constant_(self.term_weight.bias, TERM_WEIGHT)
            init.constant_(self.slope, SLOPE)
            init.constant_(self.threshold, THRESHOLD)

    def forward(self, hidden_states, token_mask, segment, terms: tuple[torch.Tensor, torch.Tensor] | None = None):
        """Scores tokens: states `(B, N, H)` and masks `(B, N)` give `(B, N)`.

        `terms` are states `(B, J, H)` of the first segment and the mask `(B, J)` of filled slots, by default taken
        from `hidden_states`.
        """
        if not self.rank:
            return self.unit(hidden_states).squeeze(-1).float()
        terms, filled = terms or take_segment(hidden_states, segment)
        scores, keys = self.unit(hidden_states), self.key(hidden_states)
        weights, queries = self.term_weight(terms), self.query(terms)
        matches = soft_matches(keys, queries, self.slope, self.threshold)
        matches = matches.masked_fill((segment | ~token_mask)[:, None, :], 0.0)  # the question must not match itself
        weights = torch.where(filled[:, :, None], F.softplus(weights.float()), 0.0)
        return scores.squeeze(-1).float() + window_coverage(matches, weights, self.windows)


def take_segment(tokens: torch.Tensor, segment: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gathers the tokens `(B, N, H)` of a segment `(B, N)`: `(B, J, H)` without gaps, and the mask of filled slots."""
    if torch.compiler.is_compiling():  # gathering fewer rows makes shapes depend on data
        return tokens, segment
    slots, filled = compact_slots(segment, data_size(segment.sum(dim=1).max().clamp(min=1)))
    return take_tokens(tokens, slots), filled


def soft_matches(keys: torch.Tensor, queries: torch.Tensor, slope: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """How well each term matches each token: the sigmoid of `slope * cosine - threshold`.

    Keys `(B, N, R)`, one vector for each token, and queries `(B, J, R)`, one for each term, give `(B, J, N)`.
    """
    cosine = unit_vectors(keys) @ unit_vectors(queries).transpose(1, 2)  # transposing all keys is slower
    return torch.sigmoid(slope * cosine.float() - threshold).transpose(1, 2)


def unit_vectors(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors `(..., R)` divided by their lengths, in fp32, by an RMS norm, which runtimes compute as one operation."""
    size = int(vectors.shape[-1])
    weight = torch.full((size,), size**-0.5, device=vectors.device)  # a root mean square of 1 is a length of sqrt(R)
    return F.rms_norm(vectors.float(), (size,), weight, eps=TINY)


def window_coverage(matches: torch.Tensor, weights: torch.Tensor, windows: Sequence[int]) -> torch.Tensor:
    """How well the tokens around each token match the terms: each term's best match in a window, weighted and summed.

    The result is `(B, N)`. Matches `(B, J, N)` are 0 where a token does not count, weights `(B, J, W)` in empty slots.
    A window is a number of slots on each side of a token.
    """
    maxima, narrower = {0: matches}, 0  # window -> best matches, (B, J, N)
    for window in sorted(set(windows) - {0}):  # a wide window's maximum is the maximum of a narrower window's maxima
        added = window - narrower
        maxima[window] = F.max_pool1d(maxima[narrower], 2 * added + 1, stride=1, padding=added)
        narrower = window
    by_window = weights.transpose(1, 2).flatten(1)[:, None]  # (B, 1, W * J): one product for all windows
    return (by_window @ torch.cat([maxima[window] for window in windows], dim=1)).squeeze(1).float()
