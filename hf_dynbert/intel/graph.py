# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The length-adaptive model as one graph for any budget: what is traced for export.

Eager code asks Python how many tokens stay; a graph must work that out from its inputs. Here the length configuration is a
tensor, a layer's selection looks at next to nothing where nobody loses a token, and what is restored are the head's outputs
rather than the states, which are many times larger.

No conditions: OpenVINO's CPU plugin (2026.4) gives stale shapes to what follows an `If` of dynamic shape. Slices whose ends
depend on the data do the same.
"""

import torch
from torch import nn

from ..drop_and_restore import (
    WIDTH_STEP,
    LayerBudget,
    attention_received,
    first_segment,
    first_token,
    restore_tokens,
    take_tokens,
)
from ..length_config import MIN_TOKENS, encode_length_config
from ..modeling_dynamic_tinybert import TokenTable


# The operation that gives a traced graph its length configuration; exporters turn it into what their runtime can set.
torch.library.define("hf_dynbert::length_config", "(Tensor default, Tensor input_ids) -> Tensor")
SMALL = 1000  # shares are millionths: two factors of a thousand keep every product below 2^24, exact in float32 runtimes too


@torch.library.impl("hf_dynbert::length_config", "cpu")
def _default_length_config(default, input_ids):
    return default.clone()


def token_counts(encoded: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """`length_config.token_counts` for all layers and examples.

    Args:
        encoded (`torch.IntTensor` of shape `(layers,)`): an encoded length configuration, see `encode_length_config`.
        lengths (`torch.LongTensor` of shape `(B,)`): real tokens of each example.

    Returns:
        `torch.LongTensor` of shape `(layers, B)`.
    """
    entries, lengths = encoded.long()[:, None], lengths[None]
    coarse, fine = entries // SMALL, entries % SMALL
    whole, rest = lengths * coarse // SMALL, lengths * coarse % SMALL
    shares = whole + (rest * SMALL + lengths * fine + SMALL * SMALL - 1) // (SMALL * SMALL)
    wanted = torch.where(entries > 0, shares, -entries)
    return torch.minimum(lengths, wanted.clamp(min=MIN_TOKENS))


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
        present = attention_mask.bool()
        encoded = torch.ops.hf_dynbert.length_config(self.default, input_ids)
        counts = token_counts(encoded, present.sum(dim=1))
        states = self.bert.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        positions = torch.arange(input_ids.shape[1]).expand(input_ids.shape[0], input_ids.shape[1])
        first = first_token(present)
        segment = first_segment(present, token_type_ids, input_ids, self.config.sep_token_id)
        cls = first if self.config.keep_cls else torch.zeros_like(first)
        voters = {"all": present, "question": segment, "cls": first, "learned": None}[self.config.importance]
        table = TokenTable(positions, present, present, cls, segment, voters)
        restored = states.new_zeros(*input_ids.shape, 2 if self.answers else self.config.hidden_size)
        for index, layer in enumerate(self.bert.encoder.layer):
            context, query, key = self._attend(layer.attention.self, states, table.present)
            attended = layer.attention.output(context, states)
            if not layer.may_drop:
                states = layer.feed_forward_chunk(attended)
                continue
            drop = (counts[index] < table.present.sum(dim=1)).any().long()
            slots, filled, restored = self._drop(layer, drop, attended, states, query, key, table, counts[index], restored)
            states = layer.feed_forward_chunk(take_tokens(attended, slots))
            table = table.take(slots, filled)
        positions, present = table.positions, table.present
        outputs = restore_tokens(restored, self.head(states), positions, present)
        if not self.answers:
            return self.classifier(outputs)
        if self.config.dropped_logits == "mask":
            kept = restore_tokens(torch.zeros_like(attention_mask), present.to(attention_mask.dtype), positions, present)
            outputs = outputs.masked_fill((kept == 0)[:, :, None], torch.finfo(torch.float32).min)
        return outputs[..., 0], outputs[..., 1]

    def _drop(self, layer, drop, attended, states, query, key, table, counts, restored):
        """A layer's slots, which of them are filled, and what the tokens that go have to say.

        `drop` is 1 where a token has to go, or 0: then two tokens are looked at, and all stay.
        """
        length = table.present.shape[1]
        some = 2 + drop * length
        seen = TokenTable(*(None if part is None else part[:, :some] for part in vars(table).values()))
        if seen.voters is None:
            scores = layer.token_scorer(attended[:, :some], seen.present, seen.segment & seen.present)
        else:
            scaling = layer.attention.self.scaling
            scores = attention_received(query[:, :, :some], key[:, :, :some], seen.present, seen.voters, scaling)
        width = (counts.max() + WIDTH_STEP - 1) // WIDTH_STEP * WIDTH_STEP
        slots, filled = layer._select(scores, seen, LayerBudget(counts, width))
        restored = restore_tokens(restored, self.head(states[:, :some]), seen.positions, seen.present)
        everything = torch.arange(length).expand(table.present.shape[0], length)[:, : (1 - drop) * length]
        slots = torch.cat([slots[:, : drop * length], everything], dim=1)
        return slots, torch.cat([filled[:, : drop * length], torch.ones_like(everything, dtype=torch.bool)], dim=1), restored

    @staticmethod
    def _attend(attention, states, present):
        """Fused attention; also gives the queries and keys, for those who count votes."""
        heads = (*states.shape[:-1], -1, attention.attention_head_size)
        query, key, value = (
            projection(states).view(heads).transpose(1, 2)
            for projection in (attention.query, attention.key, attention.value)
        )
        mask = torch.zeros_like(present, dtype=states.dtype).masked_fill(~present, torch.finfo(states.dtype).min)
        context = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask[:, None, None, :])
        return context.transpose(1, 2).reshape(states.shape), query, key
