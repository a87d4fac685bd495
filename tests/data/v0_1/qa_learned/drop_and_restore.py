# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Drop-and-restore as pure tensor functions: who votes, who stays, who comes back (arXiv 2010.07003, section 3.1).

Shapes: B examples, L tokens of the input, N tokens present before a layer drops, K slots after it, H hidden size, A heads.
"Present" marks real tokens in slots: padding, and slots that an example does not fill, are not present.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .length_config import MIN_TOKENS, SHARE_UNIT, share_units, token_counts


# Matrix kernels take 16 rows at a time, and what was compiled for one length is used again (OpenVINO 2026.4, AVX512).
# Exported graphs keep a multiple of it.
WIDTH_STEP = 16


@dataclass(frozen=True)
class LayerBudget:
    """What one dropping layer may keep.

    Args:
        counts (`torch.LongTensor` of shape `(B,)`): tokens that each example keeps.
        width (`int`, or a scalar tensor in a trace): slots after the layer, at least the largest count.
    """

    counts: torch.Tensor
    width: int | torch.Tensor


def plan_budgets(
    length_config: Sequence[int | float] | None, present: torch.Tensor, num_layers: int
) -> list[LayerBudget | None]:
    """Turns a length configuration into what each layer keeps of this batch.

    Args:
        length_config (`list[int]`, `list[float]` or `None`): a valid length configuration.
        present (`torch.BoolTensor` of shape `(B, L)`): real tokens.
        num_layers (`int`): layers of the model.

    Returns:
        `list[LayerBudget | None]`: one a layer; `None` where no example loses a token.
    """
    if length_config is None:
        return [None] * num_layers
    lengths = present.sum(dim=1)
    counts = torch.stack([_counts(entry, lengths) for entry in length_config])  # (layers, B)
    if torch.compiler.is_compiling():  # shapes must not depend on data: the widths of an unpadded batch are an upper bound
        full = present.shape[1]
        widths = token_counts(length_config, full)
        shrinks = [width < before for width, before in zip(widths, [full, *widths], strict=False)]
    else:
        before = torch.cat([lengths[None], counts[:-1]])
        widths = counts.max(dim=1).values.tolist()
        shrinks = (counts < before).any(dim=1).tolist()
    return [LayerBudget(counts[layer], max(1, width)) if shrinks[layer] else None for layer, width in enumerate(widths)]


def first_segment(
    present: torch.Tensor,
    token_type_ids: torch.Tensor | None = None,
    input_ids: torch.Tensor | None = None,
    sep_token_id: int | None = None,
) -> torch.Tensor:
    """Marks the first segment (a question, say): CLS, its text and its separator.

    Token types decide for the examples that have both kinds; the others end their first segment at the first separator.
    An example without a second segment has no first one either: its row is all `False`.

    Args:
        present (`torch.BoolTensor` of shape `(B, L)`): real tokens.
        token_type_ids (`torch.LongTensor` of shape `(B, L)`, *optional*): 0 in the first segment, 1 in the second.
        input_ids (`torch.LongTensor` of shape `(B, L)`, *optional*): needed to look for separators.
        sep_token_id (`int`, *optional*): the separator.

    Returns:
        `torch.BoolTensor` of shape `(B, L)`.
    """
    segment = torch.zeros_like(present)
    if input_ids is not None and sep_token_id is not None:
        separators = (input_ids == sep_token_id) & present
        segment = present & (separators.cumsum(dim=1) == separators)  # no separator strictly before the token
    if token_type_ids is not None:
        second = (token_type_ids == 1) & present
        segment = torch.where(second.any(dim=1, keepdim=True), present & ~second, segment)
    has_second = (present & ~segment).any(dim=1, keepdim=True)
    return segment & has_second


def first_token(present: torch.Tensor) -> torch.Tensor:
    """Marks each example's first real token (CLS), wherever the padding is: `(B, L)` to `(B, L)`, boolean."""
    return present & (present.long().cumsum(dim=1) == 1)


def attention_received(
    query: torch.Tensor,
    key: torch.Tensor,
    present: torch.Tensor,
    voters: torch.Tensor,
    scaling: float,
) -> torch.Tensor:
    """Attention probability that each token receives, summed over heads and over the rows that vote.

    Only the voting rows are computed, beside whatever kernel computes the attention itself, without dropout and without
    gradients (the choice of tokens has none). An example in which no voter is present lets all its tokens vote.

    Args:
        query (`torch.Tensor` of shape `(B, A, N, H / A)`): projected queries.
        key (`torch.Tensor` of shape `(B, A, N, H / A)`): projected keys.
        present (`torch.BoolTensor` of shape `(B, N)`): tokens that can be attended to.
        voters (`torch.BoolTensor` of shape `(B, N)`): rows that vote; those not present are ignored.
        scaling (`float`): factor of the scores before the softmax.

    Returns:
        `torch.FloatTensor` of shape `(B, N)`: importance; 0 where no token is present.
    """
    with torch.no_grad():
        voters = voters & present
        voters = torch.where(voters.any(dim=1, keepdim=True), voters, present)
        if not torch.compiler.is_compiling():  # gathering fewer rows makes shapes depend on data
            rows, voters = compact_slots(voters, data_size(voters.sum(dim=1).max()))
            index = rows[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[3])
            query = query.gather(2, index)
        scores = (query @ key.transpose(2, 3)).float() * scaling  # (B, A, voters, N)
        scores = scores.masked_fill(~present[:, None, None, :], torch.finfo(scores.dtype).min)
        votes = scores.softmax(dim=-1).masked_fill(~voters[:, None, :, None], 0.0)
        return votes.sum(dim=(1, 2)).masked_fill(~present, 0.0)


def select_tokens(
    scores: torch.Tensor, present: torch.Tensor, protected: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """Chooses the most important tokens of each example.

    Protected tokens go before all others, and among themselves by position; ties go to the earlier token, so that neither
    padding nor batch mates can change a choice.

    Args:
        scores (`torch.FloatTensor` of shape `(B, N)`): importance.
        present (`torch.BoolTensor` of shape `(B, N)`): tokens that can be chosen.
        protected (`torch.BoolTensor` of shape `(B, N)`): tokens that stay as long as the budget has room for them.
        counts (`torch.LongTensor` of shape `(B,)`): how many stay, not more than are present.

    Returns:
        `torch.BoolTensor` of shape `(B, N)`: those that stay.
    """
    ranking = scores.masked_fill(protected, torch.inf).masked_fill(~present, -torch.inf)
    order = ranking.sort(dim=1, descending=True, stable=True).indices
    best = torch.arange(order.shape[1], device=order.device) < counts[:, None]
    return torch.zeros_like(present).scatter(1, order, best)


def take_tokens(tokens: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """Gathers slots: `(B, N)` or `(B, N, H)` with slots `(B, K)` gives `(B, K)` or `(B, K, H)`."""
    if tokens.dim() == 2:
        return tokens.gather(1, slots)
    batch, length, size = tokens.shape
    rows = slots + length * torch.arange(batch, device=slots.device)[:, None]  # whole rows are copied, not single numbers
    return tokens.reshape(-1, size).index_select(0, rows.flatten()).view(*slots.shape, size)


def restore_tokens(
    restored: torch.Tensor, hidden_states: torch.Tensor, positions: torch.Tensor, filled: torch.Tensor
) -> torch.Tensor:
    """Writes the states of the tokens that are still there over what the full-length sequence held for them.

    Args:
        restored (`torch.Tensor` of shape `(B, L, ...)`): each token's latest state so far.
        hidden_states (`torch.Tensor` of shape `(B, K, ...)`): states of the tokens still there.
        positions (`torch.LongTensor` of shape `(B, K)`): where they stand in the full sequence.
        filled (`torch.BoolTensor` of shape `(B, K)`): slots that hold a token; the others write nothing.

    Returns:
        `torch.Tensor` of shape `(B, L, ...)`: a new tensor.
    """
    length = restored.shape[1]
    spare = restored.new_zeros(restored.shape[0], 1, *restored.shape[2:])  # empty slots write here
    positions = positions.masked_fill(~filled, length)
    index = positions.reshape(*positions.shape, *[1] * (restored.dim() - 2)).expand_as(hidden_states)
    return torch.cat([restored, spare], dim=1).scatter(1, index, hidden_states.to(restored.dtype))[:, :length]


def data_size(size: torch.Tensor) -> int | torch.Tensor:
    """A size that depends on the data: a number, but in a trace still a tensor, so that the graph works it out anew."""
    return size if torch.jit.is_tracing() else int(size)


def compact_slots(mask: torch.Tensor, width: int | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Slots of the marked tokens, in order.

    Args:
        mask (`torch.BoolTensor` of shape `(B, N)`): at most `width` marked in a row.
        width (`int`, or a scalar tensor in a trace): K.

    Returns:
        `torch.LongTensor` of shape `(B, K)`, and `torch.BoolTensor` of shape `(B, K)`: which are filled. The others, at the
        end, are some valid slot.
    """
    counted, order = mask.long().cumsum(dim=1), torch.arange(width, device=mask.device)
    total = counted[:, -1:]
    before = torch.minimum(order, total - 1)  # marked tokens before a slot's own; what is not filled repeats the last
    if torch.jit.is_tracing():  # counted: graphs search slowly (OpenVINO 2026.4)
        slots = torch.where(counted[:, None, :] <= before[:, :, None], 1, 0).sum(dim=2)
    else:
        slots = torch.searchsorted(counted, before, right=True)
    return slots, order < total


def _counts(entry: int | float, lengths: torch.Tensor) -> torch.Tensor:
    """`length_config.token_counts` for one layer and many examples."""
    if isinstance(entry, int):
        wanted = torch.full_like(lengths, entry)
    else:
        wanted = -(-lengths * share_units(entry) // SHARE_UNIT)
    return torch.minimum(lengths, wanted.clamp(min=MIN_TOKENS))
