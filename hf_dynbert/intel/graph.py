# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The length-adaptive model as one graph for any budget: what is traced for export.

Eager code asks Python how many tokens stay; a graph must work that out from its inputs. Here the length configuration is a
tensor, tokens that go are remembered by where the others are now, and what is restored are the head's outputs rather than
the states, which are many times larger.

Every operation costs a runtime some microseconds whatever it does, and one whose output's shape depends on data makes it
stop (OpenVINO 2026.4 works out the shapes up to the next such operation before it goes on). So there are few of both: a
layer that drops has one such operation, the range that is as wide as its tokens to come. Where nobody loses a token a layer
still chooses, and padding goes.

No conditions: OpenVINO's CPU plugin gives stale shapes to what follows an `If` of dynamic shape.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .. import drop_and_restore
from ..drop_and_restore import (
    WIDTH_STEP,
    attention_received,
    compact_slots,
    data_size,
    first_segment,
    first_token,
)
from ..length_config import MIN_TOKENS, encode_length_config


# Operations that exporters turn into what their runtime has: the one that gives a traced graph its length configuration, and
# gathering, for which TorchScript knows no single operation.
torch.library.define("hf_dynbert::length_config", "(Tensor default, Tensor input_ids) -> Tensor")
torch.library.define("hf_dynbert::take_tokens", "(Tensor tokens, Tensor slots) -> Tensor")

SMALL = 1000  # shares are millionths: two factors of a thousand keep every number below 2^24, exact in float32 runtimes too


@torch.library.impl("hf_dynbert::length_config", "cpu")
def _default_length_config(default, input_ids):
    return default.clone()


@torch.library.impl("hf_dynbert::take_tokens", "cpu")
def _take_tokens(tokens, slots):
    return drop_and_restore.take_tokens(tokens, slots.clamp(min=0)).clone()


def take_tokens(tokens: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """[`drop_and_restore.take_tokens`] as one operation of the graph; a slot of -1 takes anything."""
    return torch.ops.hf_dynbert.take_tokens(tokens, slots)


def token_counts(encoded: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """`length_config.token_counts` for all layers and examples.

    Args:
        encoded (`torch.IntTensor` of shape `(layers,)`): an encoded length configuration, see `encode_length_config`.
        lengths (`torch.LongTensor` of shape `(B,)`): real tokens of each example.

    Returns:
        `torch.LongTensor` of shape `(layers, B)`.
    """
    entries, lengths = encoded.long()[:, None], lengths[None]
    thousands = entries // SMALL
    parts = lengths * thousands + (lengths * (entries - thousands * SMALL) + SMALL - 1) // SMALL  # thousandths, rounded up
    wanted = torch.where(entries > 0, (parts + SMALL - 1) // SMALL, -entries)
    return torch.minimum(lengths, wanted.clamp(min=MIN_TOKENS))


@dataclass
class Tokens:
    """The tokens in the slots of one layer; J terms of the first segment, L tokens of the input.

    Args:
        present, first, segment (`torch.BoolTensor` of shape `(B, N)`): slots with a real token, with the first, and with
            those of the first segment.
        terms (`torch.LongTensor` of shape `(B, J)`): slots of the first segment's tokens.
        terms_there (`torch.BoolTensor` of shape `(B, J)`): which of them are still there; the others have any slot.
        places (`torch.LongTensor` of shape `(B, L)`, *optional*): the slot of each token of the input, -1 where it is gone.
            `None` as long as all are in their places.
    """

    present: torch.Tensor
    first: torch.Tensor
    segment: torch.Tensor
    terms: torch.Tensor
    terms_there: torch.Tensor
    places: torch.Tensor | None = None

    def take(self, slots: torch.Tensor, filled: torch.Tensor, kept: torch.Tensor) -> "Tokens":
        """Only the tokens of these slots `(B, K)` where `filled`, which are those that are `kept`, `(B, N)`."""
        moved = kept.long() * kept.long().cumsum(dim=1) - 1  # the new slot of each old one
        terms = take_tokens(moved, self.terms)
        places = moved
        if self.places is not None:
            places = torch.where(self.places >= 0, take_tokens(moved, self.places), -1)
        first, segment = (take_tokens(part, slots) & filled for part in (self.first, self.segment))
        return Tokens(filled, first, segment, terms, self.terms_there & (terms >= 0), places)


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
        self.classifier = None if self.answers else nn.Sequential(model.bert.pooler, model.classifier)
        encoded = encode_length_config(model.config.resolve_length_config(None), model.config.num_hidden_layers)
        self.default = torch.tensor(encoded, dtype=torch.int32)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        """`(B, L)` each; gives start and end logits `(B, L)`, or logits `(B, labels)`."""
        present = attention_mask > 0
        encoded = torch.ops.hf_dynbert.length_config(self.default, input_ids)
        counts = token_counts(encoded, present.sum(dim=1))
        states = self.bert.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        first = first_token(present)
        segment = first_segment(present, token_type_ids, input_ids, self.config.sep_token_id)
        in_segment = segment.sum(dim=1)
        terms = compact_slots(segment, _width(in_segment.clamp(min=1)), in_segment[:, None])
        tokens = Tokens(present, first, segment, *terms)
        mask, restored = _bias(present, states.dtype), None
        for index, layer in enumerate(self.bert.encoder.layer):
            context, query, key = self._attend(layer.attention.self, states, mask)
            attended = layer.attention.output(context, states)
            if layer.may_drop:
                restored = self._restore(restored, states, tokens)
                scores = self._scores(layer, attended, query, key, tokens)
                slots, tokens = self._select(layer, scores, tokens, counts[index])
                attended, mask = take_tokens(attended, slots), _bias(tokens.present, states.dtype)
            states = layer.feed_forward_chunk(attended)
        outputs = self._restore(restored, states, tokens)
        if not self.answers:
            return self.classifier(outputs)
        if self.config.dropped_logits == "mask" and tokens.places is not None:
            outputs = outputs.masked_fill((tokens.places < 0)[:, :, None], torch.finfo(torch.float32).min)
        return outputs[..., 0], outputs[..., 1]

    def _scores(self, layer, attended, query, key, tokens: "Tokens") -> torch.Tensor:
        """Importance `(B, N)`."""
        if self.config.importance == "learned":
            terms = (take_tokens(attended, tokens.terms), tokens.terms_there) if layer.token_scorer.rank else None
            return layer.token_scorer(attended, tokens.present, tokens.segment, terms)
        voters = {"all": tokens.present, "question": tokens.segment, "cls": tokens.first}[self.config.importance]
        return attention_received(query, key, tokens.present, voters, layer.attention.self.scaling)

    def _select(self, layer, scores, tokens: "Tokens", counts) -> tuple[torch.Tensor, "Tokens"]:
        """The slots that stay, and the tokens in them."""
        cls = tokens.first if self.config.keep_cls else torch.zeros_like(tokens.first)
        kept = layer._select(scores, tokens.present, cls, tokens.segment, counts)
        # Not for all layers at once: a graph that knows every width from the start is slower (OpenVINO 2026.4)
        slots, filled = compact_slots(kept, _width(counts), counts[:, None])
        return slots, tokens.take(slots, filled, kept)

    def _restore(self, restored, states, tokens: "Tokens") -> torch.Tensor:
        """What the head says of each token of the input by its latest state; of the first alone, if that is all it reads."""
        outputs = self.head(states)
        if tokens.places is None:
            return outputs if self.answers else outputs[:, :1]
        places = tokens.places if self.answers else tokens.places[:, :1]
        return torch.where((places >= 0)[:, :, None], take_tokens(outputs, places), restored)

    @staticmethod
    def _attend(attention, states, mask):
        """Fused attention; also gives the queries and keys, for those who count votes."""
        heads = (*states.shape[:-1], -1, attention.attention_head_size)
        query, key, value = (
            projection(states).view(heads).transpose(1, 2)
            for projection in (attention.query, attention.key, attention.value)
        )
        context = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask)
        return context.transpose(1, 2).flatten(2), query, key


def _width(counts: torch.Tensor) -> int | torch.Tensor:
    """Slots for so many tokens of each example, `(B,)`."""
    return data_size((counts.max() + WIDTH_STEP - 1) // WIDTH_STEP * WIDTH_STEP)


def _bias(present: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to attention scores, `(B, 1, 1, N)`."""
    return torch.where(present, 0.0, torch.finfo(dtype).min).to(dtype)[:, None, None, :]
