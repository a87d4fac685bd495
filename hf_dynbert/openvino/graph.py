# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The length-adaptive model as one graph for any budget: what is traced for export.

The graph runs the same layer step as the eager encoder (`layer_step`). [`GraphTokenState`], [`attend_in_graph`] and
[`LengthAdaptiveGraph`] hold everything that differs from eager code, for these reasons (OpenVINO 2026.4):

- The length configuration is a tensor, so the graph computes how many tokens stay. Every operation costs microseconds
  whatever it computes, twice as much when lengths change from call to call. An operation whose output shape depends on
  data makes the runtime stop and work out shapes up to the next such operation. So the graph has few of both.
- One sort by a priority replaces masks: the tokens that stay are ordered by importance, and only layers before one that
  looks at a token's neighbours order them by position.
- The graph restores the head's outputs, not the states: the states before each drop and at the end form one table, and every
  token has the row of its latest state. Where a dropped token cannot answer (`dropped_logits="mask"`) there is no table, and
  the outputs of the last layer are written to their places.
- A layer that may drop selects tokens even where none is lost, and drops padding. There are no conditions: OpenVINO's CPU
  plugin gives stale shapes to what follows an `If` of dynamic shape. Operations that a graph can leave out where every token
  stays have names instead, from which `export.without_drops` makes a plain graph of the same weights.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..drop_and_restore import WIDTH_STEP, Selection, TokenState, first_segment, first_token
from ..modeling_dynamic_tinybert import Attention, BertAdapter, layer_step
from ..subnetwork import MAX_COUNT, MIN_TOKENS, SHARE_UNIT
from .graph_operations import LOWEST, put_tokens, take_tokens, top_slots


# Priorities above and below all scores: exact in float32, and further apart than any two scores
CLS, SEGMENT, ABSENT = 4e6, 2e6, -8e6


def token_priorities(token_mask: torch.Tensor, first: torch.Tensor, segment: torch.Tensor) -> torch.Tensor:
    """The ranking of tokens by what they are: `(B, N)` masks give `(B, N)` floats, 0 where importance decides.

    The first token comes before the first segment (in order), the other tokens, and slots without a real token.
    """
    places = torch.arange(token_mask.shape[1], device=token_mask.device)
    ahead = torch.where(first, CLS, torch.where(segment, SEGMENT - places, 0.0))
    return torch.where(token_mask, ahead, ABSENT)


def token_counts(encoded: torch.Tensor, lengths: torch.Tensor, min_tokens_to_drop: int = 0) -> torch.Tensor:
    """`subnetwork.token_count` for all layers and examples.

    Args:
        encoded (`torch.IntTensor` of shape `(layers,)`): an encoded length configuration, see `SubNetwork.encode`. Raw
            OpenVINO sets it without any check: 0 keeps all tokens.
        lengths (`torch.LongTensor` of shape `(B,)`): real tokens of each example.
        min_tokens_to_drop (`int`, *optional*, defaults to 0): examples with fewer tokens keep all of them.

    Returns:
        `torch.LongTensor` of shape `(layers, B)`.
    """
    entries, lengths = encoded.long()[:, None], lengths[None]
    entries = torch.where(entries == 0, SHARE_UNIT, entries)  # a state that nobody set keeps all tokens
    wanted = torch.maximum((lengths * entries + (SHARE_UNIT - 1)) // SHARE_UNIT, -entries)  # one of both is not positive
    counts = torch.minimum(lengths, wanted.clamp(min=MIN_TOKENS))
    return counts if min_tokens_to_drop == 0 else torch.where(lengths < min_tokens_to_drop, lengths, counts)


def running_minimum(counts: torch.Tensor, num_layers: int) -> torch.Tensor:
    """Token counts `(layers, B)` that never rise: raw OpenVINO may set a length configuration that does.

    Three operations on a few numbers, since OpenVINO has no running minimum: 4 µs a call (OpenVINO 2026.4, one thread).
    """
    earlier = torch.ones(num_layers, num_layers, device=counts.device).tril().bool()[:, :, None]
    return torch.where(earlier, counts, MAX_COUNT).amin(dim=1)


@dataclass(frozen=True)
class GraphPlan:
    """The tokens that one layer keeps.

    Args:
        counts (`torch.LongTensor` of shape `(B,)`): tokens that each example keeps.
        in_order (`bool`): whether a later layer looks at a token's neighbours, so that tokens keep the order of positions.
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
        term_mask (`torch.BoolTensor` of shape `(B, J)`): which of them are still there; the others have any slot.
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
        """States and mask of the first segment, whose slots the state keeps: finding them again would depend on data."""
        return take_tokens(states, self.term_slots), self.term_mask

    def select(self, importance: torch.Tensor, layer, plan: GraphPlan) -> GraphSelection:
        """The same tokens as in eager mode by one sort: an integer width there is a tensor here."""
        priority = self.priority
        decided = priority != 0
        if layer.segment_goes == "first":
            priority = priority - (CLS + SEGMENT) / 2  # all others lie between the first token and its segment
        elif layer.segment_goes == "by importance":
            decided = priority.abs() > SEGMENT
        # Not for all layers at once: a graph with all widths known at its start is slower (OpenVINO 2026.4)
        width = _width(plan.counts, self.width)
        slots = top_slots(torch.where(decided, priority, importance.float()), width)
        slot_mask = torch.arange(width, device=slots.device) < plan.counts[:, None]
        if plan.in_order:
            places = torch.where(slot_mask, slots, slots + self.width)
            slots = take_tokens(slots, top_slots(-places.float(), width))
        return GraphSelection(slots, slot_mask, width)

    def drop(self, states: torch.Tensor, selection: GraphSelection) -> torch.Tensor:
        """The states of the selected tokens, by an operation that a plain graph leaves out."""
        return torch.ops.hf_dynbert.drop_tokens(states, selection.slots)

    def take(self, selection: GraphSelection) -> "GraphTokenState":
        """The state of the selected tokens. The other slots hold dropped tokens, whose rows in the table stay the same."""
        slots, slot_mask, width = selection.slots, selection.slot_mask, selection.width
        order = torch.arange(width, device=slots.device)
        gone = torch.full_like(self.rows, -1)
        terms = take_tokens(put_tokens(gone, slots, torch.where(slot_mask, order, -1)), self.term_slots)
        new_rows = self.table_rows + torch.arange(width, device=slots.device)
        return GraphTokenState(
            positions=slots if self.positions is None else take_tokens(self.positions, slots),
            token_mask=slot_mask,
            slot_mask=slot_mask,
            first=take_tokens(self.first, slots) & slot_mask,
            segment=take_tokens(self.segment, slots) & slot_mask,
            attention_mask=torch.ops.hf_dynbert.attention_bias_of_kept(slot_mask)[:, None, None, :],
            width=width,
            priority=torch.where(slot_mask, take_tokens(self.priority, slots), ABSENT),
            term_slots=terms,
            term_mask=self.term_mask & (terms >= 0),
            rows=torch.where(slot_mask, new_rows, take_tokens(self.rows, slots)),
            table_rows=self.table_rows + width,
        )


def attend_in_graph(layer, states, query_states, tokens: GraphTokenState, selection=None) -> Attention:
    """Fused attention; the functions of transformers would add operations that copy tensors and expand the mask."""
    query, key, value = layer.adapter.project(layer, states, query_states)
    context = torch.nn.functional.scaled_dot_product_attention(query, key, value, tokens.attention_mask)
    scaling = layer.adapter.attention_module(layer).scaling
    return Attention(context.transpose(1, 2).flatten(2), query, key, scaling)


class RowPair(nn.Module):
    """An embedding of two rows as arithmetic, which a runtime joins with what comes next; gathering is a pass of its own.

    Args:
        embedding (`nn.Embedding`): with two rows.
    """

    def __init__(self, embedding: nn.Embedding):
        super().__init__()
        rows = embedding.weight.detach().float()  # a difference of 16 bits would not lead to the second row
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
        self.answers = hasattr(model, "qa_outputs")
        # A classifier reads the first token alone, so its states are what is restored
        self.head = model.qa_outputs if self.answers else nn.Identity()
        self.restores = not self.answers or model.config.dropped_logits == "restore"
        self.classifier = None if self.answers else nn.Sequential(model.bert.pooler, model.classifier)
        self.default = torch.tensor(model.config.resolve_budget().encode(model.config), dtype=torch.int32)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        """`(B, L)` each; gives start and end logits `(B, L)`, or logits `(B, labels)`."""
        token_mask = attention_mask > 0
        encoded = torch.ops.hf_dynbert.length_config(self.default, input_ids)
        counts = token_counts(encoded, token_mask.sum(dim=1), self.config.min_tokens_to_drop)
        counts = running_minimum(counts, self.config.num_hidden_layers)
        states = self.bert.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        tokens = self._token_state(input_ids, token_mask, token_type_ids)
        rows, table = tokens.rows, []  # the row of the table for every token of the input; its parts
        for index, layer in enumerate(BertAdapter.layers(self.bert)):
            plan = GraphPlan(counts[index], self._looks_at_neighbours(index + 1)) if layer.may_drop else None
            if plan is not None and self.restores:
                table.append(states)
            states, tokens, _, _ = layer_step(layer, states, tokens, plan, attend_in_graph)
            if plan is not None:
                rows = put_tokens(rows, tokens.positions, tokens.rows)
        if not self.restores and tokens.positions is not None:
            return self._placed(self.head(states), tokens, token_mask)
        if not table:  # no layer drops
            return self._answer(self.head(states))
        if not self.answers:
            rows = rows[:, :1]
        return self._answer(torch.ops.hf_dynbert.restore_tokens(self.head(torch.cat([*table, states], dim=1)), rows))

    def _token_state(self, input_ids, token_mask, token_type_ids) -> GraphTokenState:
        """The state of the input's tokens."""
        width = _scalar(input_ids.shape[1])
        first = first_token(token_mask)
        segment = first_segment(token_mask, token_type_ids, input_ids, self.config.sep_token_id)
        in_segment = segment.long().sum(dim=1)
        most_terms = _width(in_segment.clamp(min=1), width)
        return GraphTokenState(
            positions=None,  # each slot's own
            token_mask=token_mask,
            slot_mask=token_mask,
            first=first,
            segment=segment,
            attention_mask=torch.ops.hf_dynbert.attention_bias(token_mask)[:, None, None, :],
            width=width,
            priority=token_priorities(token_mask, first if self.config.keep_cls else torch.zeros_like(first), segment),
            term_slots=top_slots(segment.long(), most_terms),
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
        """The head's outputs of all tokens as what callers expect."""
        return (outputs[..., 0], outputs[..., 1]) if self.answers else self.classifier(outputs)

    @staticmethod
    def _placed(outputs, tokens: GraphTokenState, token_mask):
        """The head's outputs of the tokens that are left, in their places among all; the others cannot be an answer."""
        logits = torch.ops.hf_dynbert.keep_outputs(outputs.transpose(1, 2), tokens.token_mask[:, None])  # (B, 2, K)
        lowest = torch.full_like(token_mask, LOWEST, dtype=outputs.dtype)[:, None].expand(-1, 2, -1)
        logits = torch.ops.hf_dynbert.place_outputs(lowest, tokens.positions[:, None].expand(-1, 2, -1), logits)
        return logits[:, 0], logits[:, 1]


def _width(counts: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
    """Slots for so many tokens of each example, `(B,)`: a scalar."""
    return torch.minimum((counts.max() + (WIDTH_STEP - 1)) & -WIDTH_STEP, most)


def _scalar(size: int | torch.Tensor) -> torch.Tensor:
    return size if isinstance(size, torch.Tensor) else torch.tensor(size)  # sizes are tensors in a trace
