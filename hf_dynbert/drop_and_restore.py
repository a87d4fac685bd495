# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Drop-and-restore as pure tensor functions: scoring, selecting and restoring tokens (arXiv 2010.07003, section 3.1).

Shapes: B examples, L tokens of the input, N slots before a layer drops, K slots after it, H hidden size, A heads.
A token mask marks the slots with a real token. A slot mask marks the slots with any token, padding included.
"""

from dataclasses import dataclass, field

import torch

from .subnetwork import MIN_TOKENS, SHARE_UNIT, SubNetwork, divide_up, share_units, token_count


# Exported graphs keep a multiple of this number of tokens: matrix kernels process 16 rows at a time, and a runtime compiles
# its kernels anew for each length (OpenVINO 2026.4, AVX512).
WIDTH_STEP = 16


@dataclass(frozen=True)
class LayerPlan:
    """How many tokens a layer keeps: `counts` `(B,)` for each example, and `width`, the number of slots after the layer.

    `width` is at least the largest count. In a trace it is a scalar tensor.
    """

    counts: torch.Tensor
    width: int | torch.Tensor


@dataclass(frozen=True)
class Selection:
    """Slots of the tokens that a layer keeps, `(B, K)`, and the mask of filled entries. The rest have any valid slot."""

    slots: torch.Tensor
    slot_mask: torch.Tensor


@dataclass
class TokenState:
    """The tokens in the slots of a layer. A layer that drops tokens makes a new state.

    Args:
        positions (`torch.LongTensor` of shape `(B, N)`): the position of each slot's token in the input.
        token_mask, slot_mask (`torch.BoolTensor` of shape `(B, N)`): slots with a real token, and with any token.
        first, segment (`torch.BoolTensor` of shape `(B, N)`): mark the first real token (CLS), and the first segment.
        attention_mask (`torch.Tensor`, *optional*): the mask that the attention function takes.
        per_token (`dict[str, torch.Tensor]`, *optional*): further tensors `(B, N, ...)` to gather with the tokens, such as
            rotary positions.
    """

    positions: torch.Tensor
    token_mask: torch.Tensor
    slot_mask: torch.Tensor
    first: torch.Tensor
    segment: torch.Tensor
    attention_mask: torch.Tensor | None = None
    per_token: dict[str, torch.Tensor] = field(default_factory=dict)

    def terms(self, states: torch.Tensor) -> None:
        """Returns `None`: the scorer finds the first segment. A subclass may return the segment's states and mask."""

    def select(self, importance: torch.Tensor, layer, plan: LayerPlan) -> Selection:
        """Selects the tokens that the layer keeps: protected tokens, then the tokens of the highest importance `(B, N)`."""
        importance = importance.detach()
        protected = self.first if layer.keep_cls else torch.zeros_like(self.first)
        if layer.segment_drop_order == "last":
            protected = protected | self.segment
        elif layer.segment_drop_order == "first":
            importance = importance.masked_fill(self.segment, torch.finfo(importance.dtype).min)
        kept = select_tokens(importance, self.token_mask, protected, plan.counts)
        return Selection(*compact_slots(kept, plan.width))

    def drop(self, states: torch.Tensor, selection: Selection) -> torch.Tensor:
        """The states `(B, K, H)` of the selected tokens."""
        return take_tokens(states, selection.slots)

    def take(self, selection: Selection) -> "TokenState":
        """The state of the selected tokens, without an attention mask."""
        slots, filled = selection.slots, selection.slot_mask
        return TokenState(
            positions=take_tokens(self.positions, slots),
            token_mask=take_tokens(self.token_mask, slots) & filled,
            slot_mask=filled,
            first=take_tokens(self.first, slots) & filled,
            segment=take_tokens(self.segment, slots) & filled,
            per_token={name: take_tokens(tensor, slots) for name, tensor in self.per_token.items()},
        )


def plan_layers(config, subnetwork: SubNetwork, token_mask: torch.Tensor, min_tokens: int):
    """Returns the layers that run, each with its `LayerPlan` for a batch with this token mask `(B, L)`.

    The plan is `None` if no example of at least `min_tokens` loses a token in the layer, and there are no gaps to close.
    """
    entries = subnetwork.layer_entries(config)
    if all(entry is None for _, entry in entries):
        return entries
    lengths = token_mask.sum(dim=1)
    counts = torch.stack([lengths if entry is None else _counts(entry, lengths) for _, entry in entries])  # (layers, B)
    counts = torch.where(lengths < min_tokens, lengths, counts)
    length = token_mask.shape[1]
    if torch.compiler.is_exporting():  # which layers drop must not depend on data; widths may, as symbols
        widths = counts.max(dim=1).values.tolist()
        drops = [entry != before for (_, entry), (_, before) in zip(entries, [(None, None), *entries], strict=False)]
        for width in widths:
            torch._check(width >= MIN_TOKENS)
    elif torch.compiler.is_compiling():  # shapes must not depend on data: those without padding are an upper bound
        widths = [max(token_count(entry or 1.0, length), min(length, min_tokens - 1)) for _, entry in entries]
        drops = [width < entering for width, entering in zip(widths, [length, *widths], strict=False)]
    else:
        entering_counts = torch.cat([lengths[None], counts[:-1]])
        widths = counts.max(dim=1).values.tolist()
        drops = (counts < entering_counts).any(dim=1).tolist()
        if bool(_has_gaps(token_mask).any()):
            # Gaps close in the first layer that may drop. If drops of other examples decided it, importance would change.
            first_that_may_drop = next(index for index, (_, entry) in enumerate(entries) if entry is not None)
            drops[first_that_may_drop] = True
    return [
        (layer, LayerPlan(counts[index], max(1, widths[index])) if drops[index] else None)
        for index, (layer, _) in enumerate(entries)
    ]


def _has_gaps(token_mask: torch.Tensor) -> torch.Tensor:
    """Marks examples with a masked token between two real tokens, `(B, L)` to `(B,)`."""
    starts = token_mask[:, 1:] & ~token_mask[:, :-1]
    return starts.sum(dim=1) + token_mask[:, 0] > 1


def first_segment(token_mask: torch.Tensor, token_type_ids=None, input_ids=None, sep_token_id: int | None = None):
    """Marks the first segment (such as a question) of `(B, L)`: CLS, its text and its separator.

    If an example has token types 0 and 1, they decide; otherwise the first segment ends at the first separator. Without a
    second segment no token is marked.
    """
    segment = torch.zeros_like(token_mask)
    if input_ids is not None and sep_token_id is not None:
        separators = (input_ids == sep_token_id) & token_mask
        segment = token_mask & (separators.cumsum(dim=1) == separators)  # no separator strictly before the token
    if token_type_ids is not None:
        second = (token_type_ids == 1) & token_mask
        segment = torch.where(second.any(dim=1, keepdim=True), token_mask & ~second, segment)
    has_second = (token_mask & ~segment).any(dim=1, keepdim=True)
    return segment & has_second


def first_token(token_mask: torch.Tensor) -> torch.Tensor:
    """Marks each example's first real token (CLS), wherever the padding is: `(B, L)` to `(B, L)`, boolean."""
    return token_mask & (token_mask.long().cumsum(dim=1) == 1)


def attention_received(
    query: torch.Tensor, key: torch.Tensor, token_mask: torch.Tensor, query_mask: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Attention probability that each real token receives, summed over heads and over the rows of `query_mask`, `(B, N)`.

    These rows are computed a second time, without dropout and gradients: fused attention returns no probabilities. If
    `query_mask` marks no token of an example, all its tokens count. Queries and keys are `(B, A, N, H / A)`.
    """
    with torch.no_grad():
        query_mask = query_mask & token_mask
        query_mask = torch.where(query_mask.any(dim=1, keepdim=True), query_mask, token_mask)
        if not torch.compiler.is_compiling():  # gathering fewer rows makes shapes depend on data
            rows, query_mask = compact_slots(query_mask, data_size(query_mask.sum(dim=1).max()))
            index = rows[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[3])
            query = query.gather(2, index)
        scores = (query @ key.transpose(2, 3)).float() * scaling  # (B, A, rows, N)
        scores = scores.masked_fill(~token_mask[:, None, None, :], torch.finfo(scores.dtype).min)
        received = scores.softmax(dim=-1).masked_fill(~query_mask[:, None, :, None], 0.0)
        return received.sum(dim=(1, 2)).masked_fill(~token_mask, 0.0)


def select_tokens(
    scores: torch.Tensor, token_mask: torch.Tensor, protected: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """Marks the `counts` `(B,)` most important real tokens of each example, `(B, N)`.

    Protected tokens are selected first, by position. Of tokens with equal scores the earlier is selected, so padding and the
    other examples of a batch do not change the selection.
    """
    ranking = scores.masked_fill(protected, torch.inf).masked_fill(~token_mask, -torch.inf)
    order = ranking.sort(dim=1, descending=True, stable=True).indices
    best = torch.arange(order.shape[1], device=order.device) < counts[:, None]
    return torch.zeros_like(token_mask).scatter(1, order, best)


def take_tokens(tokens: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """Gathers slots: `(B, N)` or `(B, N, H)` with slots `(B, K)` gives `(B, K)` or `(B, K, H)`; more axes likewise."""
    if tokens.dim() == 2:
        return tokens.gather(1, slots)
    if tokens.dim() > 3:
        return take_tokens(tokens.flatten(2), slots).view(*slots.shape, *tokens.shape[2:])
    batch, length, size = tokens.shape
    rows = slots + length * torch.arange(batch, device=slots.device)[:, None]  # `index_select` copies whole rows
    return tokens.reshape(-1, size).index_select(0, rows.flatten()).view(*slots.shape, size)


def restore_tokens(restored: torch.Tensor, hidden_states: torch.Tensor, positions: torch.Tensor, slot_mask: torch.Tensor):
    """Writes the remaining tokens' states `(B, K, ...)` to their positions in a copy of `restored` `(B, L, ...)`.

    `positions` and `slot_mask` are `(B, K)`; slots without a token write nothing.
    """
    length = restored.shape[1]
    spare = restored.new_zeros(restored.shape[0], 1, *restored.shape[2:])  # empty slots write here
    positions = positions.masked_fill(~slot_mask, length)
    index = positions.reshape(*positions.shape, *[1] * (restored.dim() - 2)).expand_as(hidden_states)
    return torch.cat([restored, spare], dim=1).scatter(1, index, hidden_states.to(restored.dtype))[:, :length]


def data_size(size: torch.Tensor) -> int | torch.Tensor:
    """Returns a size that depends on the data: an `int`, or in a trace the tensor, which the graph computes in each call."""
    return size if torch.jit.is_tracing() else int(size)


def compact_slots(mask: torch.Tensor, width: int | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the marked tokens' slots in order and the mask of filled entries, `(B, width)`; the rest have valid slots."""
    counted, order = mask.long().cumsum(dim=1), torch.arange(width, device=mask.device)
    total = counted[:, -1:]
    before = torch.minimum(order, total - 1)  # marked tokens before each slot; the rest repeat the last
    if torch.jit.is_tracing():  # count instead of search, which is slow in graphs (OpenVINO 2026.4)
        slots = torch.where(counted[:, None, :] <= before[:, :, None], 1, 0).sum(dim=2)
    else:
        slots = torch.searchsorted(counted, before, right=True)
    return slots, order < total


def _counts(entry: int | float, lengths: torch.Tensor) -> torch.Tensor:
    """`subnetwork.token_count` for one layer and many examples: `(B,)` to `(B,)`."""
    if isinstance(entry, int):
        wanted = torch.full_like(lengths, entry)
    else:
        wanted = divide_up(lengths * share_units(entry), SHARE_UNIT)
    return torch.minimum(lengths, wanted.clamp(min=MIN_TOKENS))
