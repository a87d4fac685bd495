# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The length-adaptive model as one graph for any budget: what is traced for export.

The graph runs the same layer step as the eager encoder (`layer_step`). [`GraphTokenState`], [`attend_in_graph`] and
[`LengthAdaptiveGraph`] hold everything that differs from eager code, for these reasons (OpenVINO 2026.4):

- The length configuration is a tensor, so the graph computes how many tokens to keep. Each operation costs microseconds
  regardless of its size, and twice as much if lengths change between calls. At an operation whose output shape depends on
  data, the runtime waits and infers shapes up to the next such operation. So the graph has few operations of both kinds.
- One sort by priority replaces masks. Kept tokens are ordered by importance, or by position if a later layer scores a token
  by its neighbours.
- The graph restores the head's outputs, not the states: the states before each drop and at the end form one table, and each
  token has the row of its latest state. With `dropped_logits="mask"` there is no table: the outputs of the last layer are
  written to their positions.
- A layer that may drop always selects tokens, which also drops padding. The graph has no `If`: OpenVINO's CPU plugin uses
  stale shapes after an `If` of dynamic shape. Instead, the operations that drop and restore have names, and
  `export.without_drops` removes them to make a graph of the same weights that keeps all tokens.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..drop_and_restore import WIDTH_STEP, Selection, TokenState, first_segment, first_token
from ..modeling_dynamic_tinybert import Attention, BertAdapter, layer_step
from ..subnetwork import MAX_COUNT, MIN_TOKENS, SHARE_UNIT
from .graph_operations import LOWEST, OPS


# Priorities of tokens that no score decides, exact in float32. Scores are far from all of them, so a sort gives the order:
# CLS, the first segment, other tokens by score (near 0), slots without a real token
CLS, SEGMENT, ABSENT = 4e6, 2e6, -8e6


def token_priorities(token_mask: torch.Tensor, first: torch.Tensor, segment: torch.Tensor) -> torch.Tensor:
    """Priorities that replace importance: `(B, N)` masks give `(B, N)` floats, 0 where importance decides.

    The order is: the first token, the first segment by position, other tokens, slots without a real token.
    """
    positions = torch.arange(token_mask.shape[1], device=token_mask.device)
    priorities = torch.where(segment, SEGMENT - positions, 0.0)
    priorities = torch.where(first, CLS, priorities)
    return torch.where(token_mask, priorities, ABSENT)


def token_counts(encoded: torch.Tensor, lengths: torch.Tensor, min_tokens_to_drop: int = 0) -> torch.Tensor:
    """`subnetwork.token_count` for all layers and examples.

    Args:
        encoded (`torch.IntTensor` of shape `(layers,)`): an encoded length configuration, see `SubNetwork.encode`. Raw
            OpenVINO does not check what a caller sets: 0 keeps all tokens.
        lengths (`torch.LongTensor` of shape `(B,)`): real tokens of each example.
        min_tokens_to_drop (`int`, *optional*, defaults to 0): examples with fewer tokens keep all of them.

    Returns:
        `torch.LongTensor` of shape `(layers, B)`.
    """
    entries, lengths = encoded.long()[:, None], lengths[None]
    entries = torch.where(entries == 0, SHARE_UNIT, entries)  # an unset state keeps all tokens
    wanted = torch.maximum((lengths * entries + (SHARE_UNIT - 1)) // SHARE_UNIT, -entries)  # one of the two is negative or 0
    counts = torch.minimum(lengths, wanted.clamp(min=MIN_TOKENS))
    return counts if min_tokens_to_drop == 0 else torch.where(lengths < min_tokens_to_drop, lengths, counts)


def running_minimum(counts: torch.Tensor, num_layers: int) -> torch.Tensor:
    """Makes token counts `(layers, B)` non-increasing: with raw OpenVINO a caller may set entries that increase.

    Three operations on a few numbers, since OpenVINO has no running minimum: 4 µs a call (OpenVINO 2026.4, one thread).
    """
    earlier = torch.ones(num_layers, num_layers, device=counts.device).tril().bool()[:, :, None]
    return torch.where(earlier, counts, MAX_COUNT).amin(dim=1)


@dataclass(frozen=True)
class GraphPlan:
    """The tokens that one layer keeps.

    Args:
        counts (`torch.LongTensor` of shape `(B,)`): tokens that each example keeps.
        in_order (`bool`): whether kept tokens are ordered by position, for later layers that score by neighbours.
    """

    counts: torch.Tensor
    in_order: bool


@dataclass(frozen=True)
class GraphSelection(Selection):
    """A selection and its width, a scalar `torch.LongTensor`: the number of slots K."""

    width: torch.Tensor


@dataclass
class GraphTokenState(TokenState):
    """The tokens in the slots of a layer of the graph; J terms of the first segment.

    Args:
        width (scalar `torch.LongTensor`): N, the number of slots.
        priority (`torch.FloatTensor` of shape `(B, N)`): see `token_priorities`.
        term_slots (`torch.LongTensor` of shape `(B, J)`): slots of the first segment's tokens.
        term_mask (`torch.BoolTensor` of shape `(B, J)`): which of these tokens no layer dropped; other terms have any slot.
        rows (`torch.LongTensor` of shape `(B, N)`): the row of the table with the latest state of the slot's token.
        table_rows (scalar `torch.LongTensor`): rows of the table so far.
    """

    width: torch.Tensor = None
    priority: torch.Tensor = None
    term_slots: torch.Tensor = None
    term_mask: torch.Tensor = None
    rows: torch.Tensor = None
    table_rows: torch.Tensor = None

    def terms(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States and mask of the first segment. Its slots are stored: finding them again would need dynamic shapes."""
        return OPS.take_tokens(states, self.term_slots), self.term_mask

    def select(self, importance: torch.Tensor, layer, plan: GraphPlan) -> GraphSelection:
        """Selects the same tokens as eager mode, by one sort. The width is a tensor."""
        priority = self.priority
        decided = priority != 0
        if layer.segment_drop_order == "first":
            # The new order: CLS (1e6), other tokens by score (near 0), the first segment (near -1e6), empty slots (-11e6)
            priority = priority - (CLS + SEGMENT) / 2
        elif layer.segment_drop_order == "by importance":
            decided = priority.abs() > SEGMENT
        # A graph that computes the widths of all layers at its start is slower (OpenVINO 2026.4)
        width = _width(plan.counts, self.width)
        slots = OPS.top_slots(torch.where(decided, priority, importance.float()), width)
        slot_mask = torch.arange(width, device=slots.device) < plan.counts[:, None]
        if plan.in_order:
            empty_last = torch.where(slot_mask, slots, slots + self.width)
            order = OPS.top_slots(-empty_last.float(), width)
            slots = OPS.take_tokens(slots, order)
        return GraphSelection(slots, slot_mask, width)

    def drop(self, states: torch.Tensor, selection: GraphSelection) -> torch.Tensor:
        """The states of the selected tokens, by an operation that `export.without_drops` removes."""
        return OPS.drop_tokens(states, selection.slots)

    def take(self, selection: GraphSelection) -> "GraphTokenState":
        """The state of the selected tokens. Empty slots hold dropped tokens, which keep their rows in the table."""
        slots, slot_mask, width = selection.slots, selection.slot_mask, selection.width
        order = torch.arange(width, device=slots.device)
        # By old slot, the new slot of its token, or -1 if the token is dropped
        new_slots = OPS.put_tokens(torch.full_like(self.rows, -1), slots, torch.where(slot_mask, order, -1))
        term_slots = OPS.take_tokens(new_slots, self.term_slots)
        new_rows = self.table_rows + order
        return GraphTokenState(
            positions=slots if self.positions is None else OPS.take_tokens(self.positions, slots),
            token_mask=slot_mask,
            slot_mask=slot_mask,
            first=OPS.take_tokens(self.first, slots) & slot_mask,
            segment=OPS.take_tokens(self.segment, slots) & slot_mask,
            attention_mask=OPS.attention_bias_of_kept(slot_mask)[:, None, None, :],
            width=width,
            priority=torch.where(slot_mask, OPS.take_tokens(self.priority, slots), ABSENT),
            term_slots=term_slots,
            term_mask=self.term_mask & (term_slots >= 0),
            rows=torch.where(slot_mask, new_rows, OPS.take_tokens(self.rows, slots)),
            table_rows=self.table_rows + width,
        )


def attend_in_graph(layer, states, query_states, tokens: GraphTokenState, selection=None) -> Attention:
    """Fused attention; the functions of transformers would add operations that copy tensors and expand the mask."""
    query, key, value = layer.adapter.project(layer, states, query_states)
    context = torch.nn.functional.scaled_dot_product_attention(query, key, value, tokens.attention_mask)
    scaling = layer.adapter.attention_module(layer).scaling
    return Attention(context.transpose(1, 2).flatten(2), query, key, scaling)


class RowPair(nn.Module):
    """An embedding of two rows by arithmetic, which a runtime fuses with the next operation, unlike a gather.

    Args:
        embedding (`nn.Embedding`): with two rows.
    """

    def __init__(self, embedding: nn.Embedding):
        super().__init__()
        rows = embedding.weight.detach().float()  # in 16 bits, `first + step` would differ from the second row
        self.register_buffer("first", rows[0], persistent=False)
        self.register_buffer("step", rows[1] - rows[0], persistent=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Zeros and ones `(B, N)` give `(B, N, H)`."""
        return self.first + rows[:, :, None].to(self.step.dtype) * self.step


class LengthAdaptiveGraph(nn.Module):
    """The model's forward pass for tracing; parameters are the model's own.

    Args:
        model (`DynamicTinyBertForQuestionAnswering` or `DynamicTinyBertForSequenceClassification`): in evaluation mode.
    """

    def __init__(self, model):
        super().__init__()
        self.config, self.bert = model.config, model.base_model
        self.is_classifier = hasattr(model, "classifier")
        if self.is_classifier:  # it pools the first token after the token is restored
            self.head, self.classifier = nn.Identity(), nn.Sequential(model.bert.pooler, model.classifier)
        else:
            self.head, self.classifier = model.qa_outputs, None
        self.has_table = self.is_classifier or model.config.dropped_logits == "restore"
        self.default = torch.tensor(model.config.resolve_budget().encode(model.config), dtype=torch.int32)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        """`(B, L)` each; gives start and end logits `(B, L)`, or logits `(B, labels)`."""
        token_mask = attention_mask > 0
        encoded = OPS.length_config(self.default, input_ids)
        counts = token_counts(encoded, token_mask.sum(dim=1), self.config.min_tokens_to_drop)
        counts = running_minimum(counts, self.config.num_hidden_layers)
        states = self.bert.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        tokens = self._token_state(input_ids, token_mask, token_type_ids)
        rows, table_parts = tokens.rows, []  # `rows` has each input token's row in the table
        for index, layer in enumerate(BertAdapter.layers(self.bert)):
            plan = GraphPlan(counts[index], self._looks_at_neighbours(index + 1)) if layer.may_drop else None
            if plan is not None and self.has_table:
                table_parts.append(states)
            states, tokens, _, _ = layer_step(layer, states, tokens, plan, attend_in_graph)
            if plan is not None:
                rows = OPS.put_tokens(rows, tokens.positions, tokens.rows)
        if tokens.positions is None:  # no layer drops
            return self._answer(self.head(states))
        if not self.has_table:
            return self._placed(self.head(states), tokens, token_mask)
        if self.is_classifier:
            rows = rows[:, :1]
        table = torch.cat([*table_parts, states], dim=1)
        return self._answer(OPS.restore_tokens(self.head(table), rows))

    def _token_state(self, input_ids, token_mask, token_type_ids) -> GraphTokenState:
        """The state of the input's tokens."""
        width = torch.as_tensor(input_ids.shape[1])  # in a trace it is a tensor
        first = first_token(token_mask)
        segment = first_segment(token_mask, token_type_ids, input_ids, self.config.sep_token_id)
        in_segment = segment.long().sum(dim=1)
        most_terms = _width(in_segment.clamp(min=1), width)
        return GraphTokenState(
            positions=None,  # slot i has token i
            token_mask=token_mask,
            slot_mask=token_mask,
            first=first,
            segment=segment,
            attention_mask=OPS.attention_bias(token_mask)[:, None, None, :],
            width=width,
            priority=token_priorities(token_mask, first if self.config.keep_cls else torch.zeros_like(first), segment),
            term_slots=OPS.top_slots(segment.long(), most_terms),
            term_mask=torch.arange(most_terms, device=input_ids.device) < in_segment[:, None],
            # Padding has no state to restore, so any row will do
            rows=torch.arange(input_ids.shape[1], device=input_ids.device) * token_mask,
            table_rows=width,
        )

    def _looks_at_neighbours(self, first_layer: int) -> bool:
        """Whether this layer or a later one scores a token by the tokens around it."""
        scorers = [layer.token_scorer for layer in BertAdapter.layers(self.bert)[first_layer:]]
        return any(scorer is not None and getattr(scorer, "rank", 0) > 0 for scorer in scorers)

    def _answer(self, outputs):
        """Returns start and end logits, or the logits of a classifier."""
        return self.classifier(outputs) if self.is_classifier else (outputs[..., 0], outputs[..., 1])

    @staticmethod
    def _placed(outputs, tokens: GraphTokenState, token_mask):
        """Writes the outputs of kept tokens to their positions; dropped tokens get the lowest number."""
        logits = OPS.keep_outputs(outputs.transpose(1, 2), tokens.token_mask[:, None])  # (B, 2, K)
        lowest = torch.full_like(token_mask, LOWEST, dtype=outputs.dtype)[:, None].expand(-1, 2, -1)
        logits = OPS.place_outputs(lowest, tokens.positions[:, None].expand(-1, 2, -1), logits)
        return logits[:, 0], logits[:, 1]


def _width(counts: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
    """The number of slots for these token counts `(B,)`: a scalar, a multiple of `WIDTH_STEP` up to `most`."""
    return torch.minimum((counts.max() + (WIDTH_STEP - 1)) & -WIDTH_STEP, most)
