# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The length-adaptive model as one graph for any budget: what is traced for export.

Eager code asks Python how many tokens stay; a graph must work that out from its inputs. Here the length configuration is a
tensor, tokens that stay are ordered by their importance, and what is restored are the head's outputs of all states that were
some token's latest: those before each drop and those at the end lie in one table, of which every token remembers its row.
Where a dropped token cannot answer (`dropped_logits="mask"`) there is no table, and the last outputs go to their places.

Every operation costs a runtime some microseconds whatever it does, twice as much when lengths change from call to call, and
one whose output's shape depends on data makes it stop (OpenVINO 2026.4 works out the shapes up to the next such operation
before it goes on). So there are few of both. Where nobody loses a token a layer still chooses, and padding goes.

No conditions: OpenVINO's CPU plugin gives stale shapes to what follows an `If` of dynamic shape. What a graph can leave out
where every token stays has names instead, by which a runtime that knows them makes a plain graph of the same weights.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .. import drop_and_restore
from ..drop_and_restore import WIDTH_STEP, attention_received, first_segment, first_token
from ..subnetwork import MAX_COUNT, MIN_TOKENS, SHARE_UNIT, encode_length_config


# Operations that exporters turn into what their runtime has: the one that gives a traced graph its length configuration, and
# those for which TorchScript knows no single operation.
torch.library.define("hf_dynbert::length_config", "(Tensor default, Tensor input_ids) -> Tensor")
torch.library.define("hf_dynbert::take_tokens", "(Tensor tokens, Tensor slots) -> Tensor")
torch.library.define("hf_dynbert::put_tokens", "(Tensor tokens, Tensor slots, Tensor values) -> Tensor")
torch.library.define("hf_dynbert::top_slots", "(Tensor ranking, Tensor width) -> Tensor")
# Those that a graph in which every token stays does without, see `export.without_drops`
torch.library.define("hf_dynbert::drop_tokens", "(Tensor tokens, Tensor slots) -> Tensor")
torch.library.define("hf_dynbert::restore_tokens", "(Tensor table, Tensor rows) -> Tensor")
torch.library.define("hf_dynbert::keep_outputs", "(Tensor outputs, Tensor filled) -> Tensor")
torch.library.define("hf_dynbert::place_outputs", "(Tensor tokens, Tensor slots, Tensor outputs) -> Tensor")
torch.library.define("hf_dynbert::attention_bias", "(Tensor present) -> Tensor")
torch.library.define("hf_dynbert::attention_bias_of_kept", "(Tensor filled) -> Tensor")

# Who comes before all others whatever the scores say, and who after: exact in float32, and apart by more than any score
CLS, SEGMENT, ABSENT = 4e6, 2e6, -8e6
LOWEST = torch.finfo(torch.float32).min


@torch.library.impl("hf_dynbert::length_config", "cpu")
def _default_length_config(default, input_ids):
    return default.clone()


def _take_tokens(tokens, slots):
    return drop_and_restore.take_tokens(tokens, slots.clamp(min=0)).clone()


for _name in ("take_tokens", "drop_tokens", "restore_tokens"):
    torch.library.impl(f"hf_dynbert::{_name}", "cpu", _take_tokens)


def _put_tokens(tokens, slots, values):
    return tokens.scatter(-1, slots, values)


for _name in ("put_tokens", "place_outputs"):
    torch.library.impl(f"hf_dynbert::{_name}", "cpu", _put_tokens)


@torch.library.impl("hf_dynbert::top_slots", "cpu")
def _top_slots(ranking, width):
    return ranking.sort(dim=1, descending=True, stable=True).indices[:, : int(width)].clone()


@torch.library.impl("hf_dynbert::keep_outputs", "cpu")
def _keep_outputs(outputs, filled):
    return outputs.masked_fill(~filled, LOWEST)


def _attention_bias(present):
    return torch.where(present, 0.0, LOWEST)


for _name in ("attention_bias", "attention_bias_of_kept"):
    torch.library.impl(f"hf_dynbert::{_name}", "cpu", _attention_bias)


def take_tokens(tokens: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """[`drop_and_restore.take_tokens`] as one operation of the graph; a slot of -1 takes anything."""
    return torch.ops.hf_dynbert.take_tokens(tokens, slots)


def put_tokens(tokens: torch.Tensor, slots: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`(B, N)` with other values `(B, K)` in these slots, none of which is there twice."""
    return torch.ops.hf_dynbert.put_tokens(tokens, slots, values)


def top_slots(ranking: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """The slots of the largest numbers, the largest first: `(B, N)` and a width of at most N give `(B, width)`."""
    return torch.ops.hf_dynbert.top_slots(ranking, width)


def standings(present: torch.Tensor, first: torch.Tensor, segment: torch.Tensor) -> torch.Tensor:
    """What places tokens before their importance does: `(B, N)` masks give `(B, N)` floats, 0 where importance decides.

    The first token goes before the first segment, which is in order, before everything else, before what is not present.
    """
    places = torch.arange(present.shape[1], device=present.device)
    ahead = torch.where(first, CLS, torch.where(segment, SEGMENT - places, 0.0))
    return torch.where(present, ahead, ABSENT)


def token_counts(encoded: torch.Tensor, lengths: torch.Tensor, min_tokens_to_drop: int = 0) -> torch.Tensor:
    """`subnetwork.token_count` for all layers and examples.

    Args:
        encoded (`torch.IntTensor` of shape `(layers,)`): an encoded length configuration, see `encode_length_config`. Raw
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


@dataclass
class Tokens:
    """The tokens in the slots of one layer; J terms of the first segment.

    Args:
        width (scalar `torch.LongTensor`): N, the number of slots.
        present, first, segment (`torch.BoolTensor` of shape `(B, N)`): slots with a real token, with the first, and with
            those of the first segment.
        standing (`torch.FloatTensor` of shape `(B, N)`): see `standings`.
        terms (`torch.LongTensor` of shape `(B, J)`): slots of the first segment's tokens.
        terms_there (`torch.BoolTensor` of shape `(B, J)`): which of them are still there; the others have any slot.
        positions (`torch.LongTensor` of shape `(B, N)`, *optional*): each slot's place in the input; `None` for its own.
        rows (`torch.LongTensor` of shape `(B, N)`): where the latest state of the slot's token lies in the table.
    """

    width: torch.Tensor
    present: torch.Tensor
    first: torch.Tensor
    segment: torch.Tensor
    standing: torch.Tensor
    terms: torch.Tensor
    terms_there: torch.Tensor
    positions: torch.Tensor | None
    rows: torch.Tensor

    def take(self, slots: torch.Tensor, filled: torch.Tensor, width: torch.Tensor, rows: torch.Tensor) -> "Tokens":
        """Only the tokens of these slots `(B, K)` where `filled`, whose latest states will be in these rows `(K,)`.

        The other slots have tokens too, those that go: what is in the table of them stays as it is.
        """
        first, segment = (take_tokens(part, slots) & filled for part in (self.first, self.segment))
        standing = torch.where(filled, take_tokens(self.standing, slots), ABSENT)
        order = torch.arange(width, device=slots.device)
        gone = torch.full_like(self.rows, -1)
        terms = take_tokens(put_tokens(gone, slots, torch.where(filled, order, -1)), self.terms)
        positions = slots if self.positions is None else take_tokens(self.positions, slots)
        rows = torch.where(filled, rows, take_tokens(self.rows, slots))
        return Tokens(width, filled, first, segment, standing, terms, self.terms_there & (terms >= 0), positions, rows)


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
        encoded = encode_length_config(model.config.resolve_length_config(None), model.config.num_hidden_layers)
        self.default = torch.tensor(encoded, dtype=torch.int32)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        """`(B, L)` each; gives start and end logits `(B, L)`, or logits `(B, labels)`."""
        present = attention_mask > 0
        encoded = torch.ops.hf_dynbert.length_config(self.default, input_ids)
        counts = token_counts(encoded, present.sum(dim=1), self.config.min_tokens_to_drop)
        counts = running_minimum(counts, self.config.num_hidden_layers)
        states = self.bert.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        tokens = self._tokens(input_ids, present, token_type_ids)
        rows, table, size = tokens.rows, [], tokens.width  # of every token of the input; states; how many that will be
        mask = torch.ops.hf_dynbert.attention_bias(present)[:, None, None, :]
        for index, layer in enumerate(self.bert.encoder.layer):
            asking = states
            if layer.selects_early:
                scores = self._scores(layer, states, None, None, tokens)
                slots, filled, width = self._select(layer, index, scores, tokens, counts[index])
                asking = torch.ops.hf_dynbert.drop_tokens(states, slots)
            context, query, key = self._attend(layer.attention.self, asking, states, mask)
            attended = layer.attention.output(context, asking)
            if layer.may_drop and not layer.selects_early:
                scores = self._scores(layer, attended, query, key, tokens)
                slots, filled, width = self._select(layer, index, scores, tokens, counts[index])
                attended = torch.ops.hf_dynbert.drop_tokens(attended, slots)
            if layer.may_drop:
                table += [states] if self.restores else []
                tokens = tokens.take(slots, filled, width, size + torch.arange(width, device=slots.device))
                rows, size = put_tokens(rows, tokens.positions, tokens.rows), size + width
                mask = torch.ops.hf_dynbert.attention_bias_of_kept(filled)[:, None, None, :]
            states = layer.feed_forward_chunk(attended)
        if not self.restores and tokens.positions is not None:
            return self._placed(self.head(states), tokens, present)
        if not table:  # no layer drops
            return self._answer(self.head(states))
        if not self.answers:
            rows = rows[:, :1]
        return self._answer(torch.ops.hf_dynbert.restore_tokens(self.head(torch.cat([*table, states], dim=1)), rows))

    def _tokens(self, input_ids, present, token_type_ids) -> "Tokens":
        """Those of the input."""
        width = _scalar(input_ids.shape[1])
        first = first_token(present)
        segment = first_segment(present, token_type_ids, input_ids, self.config.sep_token_id)
        standing = standings(present, first if self.config.keep_cls else torch.zeros_like(first), segment)
        chosen = segment.long()
        in_segment = chosen.sum(dim=1)
        many = _width(in_segment.clamp(min=1), width)
        # Padding has no state to restore, so any row will do
        rows = torch.arange(input_ids.shape[1], device=input_ids.device) * present
        there = torch.arange(many, device=input_ids.device) < in_segment[:, None]
        return Tokens(width, present, first, segment, standing, top_slots(chosen, many), there, None, rows)

    def _scores(self, layer, states, query, key, tokens: "Tokens") -> torch.Tensor:
        """Importance `(B, N)`."""
        if self.config.importance == "learned":
            terms = (take_tokens(states, tokens.terms), tokens.terms_there) if layer.token_scorer.rank else None
            return layer.token_scorer(states, tokens.present, tokens.segment, terms)
        voters = {"all": tokens.present, "question": tokens.segment, "cls": tokens.first}[self.config.importance]
        return attention_received(query, key, tokens.present, voters, layer.attention.self.scaling)

    def _select(self, layer, index, scores, tokens: "Tokens", counts) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The slots that stay `(B, K)`, which of them are filled, and K. See [`DynamicTinyBertLayer`]."""
        standing = tokens.standing
        placed = standing != 0
        if layer.segment_goes == "first":
            standing = standing - (CLS + SEGMENT) / 2  # all others lie between the first token and its segment
        elif layer.segment_goes == "by importance":
            placed = standing.abs() > SEGMENT
        # Not for all layers at once: a graph that knows every width from the start is slower (OpenVINO 2026.4)
        width = _width(counts, tokens.width)
        slots = top_slots(torch.where(placed, standing, scores.float()), width)
        filled = torch.arange(width, device=slots.device) < counts[:, None]
        scorers = [other.token_scorer for other in self.bert.encoder.layer[index + 1 :]]
        if any(scorer is not None and scorer.rank for scorer in scorers):  # they look at a token's neighbours
            places = torch.where(filled, slots, slots + tokens.width)
            slots = take_tokens(slots, top_slots(-places.float(), width))
        return slots, filled, width

    def _answer(self, outputs):
        """The head's outputs of all tokens as what callers expect."""
        return (outputs[..., 0], outputs[..., 1]) if self.answers else self.classifier(outputs)

    def _placed(self, outputs, tokens: "Tokens", present):
        """The head's outputs of the tokens that are left, in their places among all; the others cannot be an answer."""
        logits = torch.ops.hf_dynbert.keep_outputs(outputs.transpose(1, 2), tokens.present[:, None])  # (B, 2, K)
        lowest = torch.full_like(present, LOWEST, dtype=outputs.dtype)[:, None].expand(-1, 2, -1)
        logits = torch.ops.hf_dynbert.place_outputs(lowest, tokens.positions[:, None].expand(-1, 2, -1), logits)
        return logits[:, 0], logits[:, 1]

    @staticmethod
    def _attend(attention, asking, states, mask):
        """Fused attention of some to all; also gives the queries and keys, for those who count votes."""
        query, key, value = (
            projection(tokens).view(*tokens.shape[:-1], -1, attention.attention_head_size).transpose(1, 2)
            for projection, tokens in ((attention.query, asking), (attention.key, states), (attention.value, states))
        )
        context = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask)
        return context.transpose(1, 2).flatten(2), query, key


def _width(counts: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
    """Slots for so many tokens of each example, `(B,)`: a scalar."""
    return torch.minimum((counts.max() + (WIDTH_STEP - 1)) & -WIDTH_STEP, most)


def _scalar(size: int | torch.Tensor) -> torch.Tensor:
    return size if isinstance(size, torch.Tensor) else torch.tensor(size)  # sizes are tensors in a trace
