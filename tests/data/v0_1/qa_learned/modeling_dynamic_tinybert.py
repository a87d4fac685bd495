# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""DynamicTinyBert: transformers' BERT with a dial. Each class docstring lists only what differs from its parent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import (
    BertEmbeddings,
    BertEncoder,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertLayer,
    BertModel,
    BertPreTrainedModel,
    BertSelfAttention,
    eager_attention_forward,
)
from transformers.utils.generic import can_return_tuple
from transformers.utils.output_capturing import capture_outputs

from .asking import BudgetMixin
from .backbones import load_backbone, one_clear_error
from .configuration_dynamic_tinybert import IMPORTANCES, DynamicTinyBertConfig
from .drop_and_restore import (
    LayerBudget,
    attention_received,
    compact_slots,
    first_segment,
    first_token,
    plan_budgets,
    restore_tokens,
    select_tokens,
    take_tokens,
)
from .int8_quantizer import DynamicInt8Config  # noqa: F401 (registers int8 also where this file is loaded alone)
from .late_interaction import soft_matches, take_segment, window_coverage
from .length_config import dropping_layers, skip_layers


if (
    TYPE_CHECKING
):  # never run: transformers reads here which files to load beside this one where the package is not installed
    from .budget import Budget  # noqa: F401 (see above)
    from .int8_kernels import kernel_for  # noqa: F401
    from .int8_layers import Int8Linear  # noqa: F401
    from .latency import measure_latencies  # noqa: F401


# Where untrained scorers start. Of two states of the same word in different places the cosine is well above 3/8, of others
# mostly below; a softplus of -0.7 is 0.4, so that four windows of ten terms give scores of a few units.
SLOPE, THRESHOLD, TERM_WEIGHT = 8.0, 3.0, -0.7


@dataclass
class DynamicTinyBertOutput:
    """What every output of this module has beside its parent's fields; L is the input's length.

    Args:
        token_scores (`tuple[torch.FloatTensor]`, *optional*, with `output_token_scores=True`):
            Learned importance, one `(batch, L)` a layer that ran and may drop; minus infinity where the token was gone or
            is padding.
        kept_tokens (`torch.BoolTensor` of shape `(batch, L)`, *optional*, when tokens were dropped):
            Tokens that passed every layer.
    """

    token_scores: tuple[torch.FloatTensor, ...] | None = None
    kept_tokens: torch.BoolTensor | None = None


@dataclass
class DynamicTinyBertModelOutput(DynamicTinyBertOutput, BaseModelOutputWithPooling):
    """[`~transformers.modeling_outputs.BaseModelOutputWithPooling`] with the fields of `DynamicTinyBertOutput`."""


@dataclass
class DynamicTinyBertQuestionAnsweringOutput(DynamicTinyBertOutput, QuestionAnsweringModelOutput):
    """[`~transformers.modeling_outputs.QuestionAnsweringModelOutput`] with the fields of `DynamicTinyBertOutput`."""


@dataclass
class DynamicTinyBertSequenceClassifierOutput(DynamicTinyBertOutput, SequenceClassifierOutput):
    """[`~transformers.modeling_outputs.SequenceClassifierOutput`] with the fields of `DynamicTinyBertOutput`."""


@dataclass
class TokenTable:
    """The tokens that are still there, slot by slot; N slots. A layer that drops makes a new table.

    Args:
        positions (`torch.LongTensor` of shape `(batch, N)`): where each slot's token stands in the input.
        present (`torch.BoolTensor` of shape `(batch, N)`): slots that hold a real token.
        filled (`torch.BoolTensor` of shape `(batch, N)`): slots that hold a token, padding included.
        cls (`torch.BoolTensor` of shape `(batch, N)`): the first token, where it is to stay; nothing where it need not.
        segment (`torch.BoolTensor` of shape `(batch, N)`): tokens of the first segment.
        voters (`torch.BoolTensor` of shape `(batch, N)`, *optional*): tokens whose attention counts; `None` if none does.
    """

    positions: torch.Tensor
    present: torch.Tensor
    filled: torch.Tensor
    cls: torch.Tensor
    segment: torch.Tensor
    voters: torch.Tensor | None

    def take(self, slots: torch.Tensor, filled: torch.Tensor) -> "TokenTable":
        """The table of the chosen slots."""
        return TokenTable(
            positions=take_tokens(self.positions, slots),
            present=take_tokens(self.present, slots) & filled,
            filled=filled,
            cls=take_tokens(self.cls, slots),
            segment=take_tokens(self.segment, slots),
            voters=None if self.voters is None else take_tokens(self.voters, slots),
        )


class DynamicTinyBertEmbeddings(BertEmbeddings):
    """Modifications: with `config.position_ids_start` above 0, positions count the tokens that are not padding."""

    def __init__(self, config: DynamicTinyBertConfig):
        super().__init__(config)
        self.pad_token_id, self.position_ids_start = config.pad_token_id, config.position_ids_start

    def forward(self, input_ids=None, token_type_ids=None, position_ids=None, inputs_embeds=None):
        if position_ids is None and self.position_ids_start > 0:
            position_ids = self._counted_positions(input_ids, inputs_embeds)
        return super().forward(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
        )

    def _counted_positions(self, input_ids, inputs_embeds):
        if input_ids is None:  # padding cannot be told: RoBERTa counts every token then
            length, device = inputs_embeds.shape[1], inputs_embeds.device
            return self.position_ids_start + torch.arange(length, device=device).expand(inputs_embeds.shape[0], -1)
        token = (input_ids != self.pad_token_id).long()
        return token.cumsum(dim=1) * token + self.position_ids_start - 1


class DynamicTinyBertSelfAttention(BertSelfAttention):
    """Modifications: encoder only; with `table.voters`, a third result is the attention that each token receives.

    The attention itself runs in whatever kernel is configured; the votes are a small product beside it. `asking`
    `(batch, K, hidden_size)` are the states of those that ask, where not all do.
    """

    def forward(self, hidden_states, attention_mask=None, table: TokenTable | None = None, asking=None, **kwargs):
        asking = hidden_states if asking is None else asking
        query, key, value = (
            projection(states).view(*states.shape[:-1], -1, self.attention_head_size).transpose(1, 2)
            for projection, states in ((self.query, asking), (self.key, hidden_states), (self.value, hidden_states))
        )
        received = None
        if table is not None and table.voters is not None:
            received = attention_received(query, key, table.present, table.voters, self.scaling)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        dropout = self.dropout.p if self.training else 0.0
        context, weights = attend(self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs)
        return context.reshape(asking.shape).contiguous(), weights, received


class TokenScorer(nn.Module):
    """Learned importance: a linear unit on a token's state, and how much of the question is near.

    Early layers do not know yet which word answers. What they can see is which words the question and a passage share, so
    with `config.importance_match` the late interaction of the first segment with the token's surroundings, in several
    windows, joins the unit's score. An example without a second segment has only the unit, and so have the layers from
    `config.importance_match_until` on.
    """

    def __init__(self, config: DynamicTinyBertConfig, layer_idx: int = 0):
        super().__init__()
        until = config.importance_match_until
        self.rank = config.importance_match if until is None or layer_idx < until else 0
        self.windows = config.importance_windows
        self.unit = nn.Linear(config.hidden_size, 1)
        if self.rank:
            self.query = nn.Linear(config.hidden_size, self.rank, bias=False)
            self.key = nn.Linear(config.hidden_size, self.rank, bias=False)
            self.term_weight = nn.Linear(config.hidden_size, len(self.windows))
            self.slope, self.threshold = nn.Parameter(torch.tensor(SLOPE)), nn.Parameter(torch.tensor(THRESHOLD))

    def forward(self, hidden_states, present, segment, terms: tuple[torch.Tensor, torch.Tensor] | None = None):
        """States `(B, N, H)`, real tokens and those of the first segment `(B, N)` give scores `(B, N)`.

        Who knows the first segment's states `(B, J, H)`, and which of these are there, spares looking for them.
        """
        if not self.rank:
            return self.unit(hidden_states).squeeze(-1).float()
        terms, filled = terms or take_segment(hidden_states, segment)
        scores, keys = self.unit(hidden_states), self.key(hidden_states)
        weights, queries = self.term_weight(terms), self.query(terms)
        matches = soft_matches(keys, queries, self.slope, self.threshold)
        matches = matches.masked_fill((segment | ~present)[:, None, :], 0.0)  # the question is no evidence for itself
        weights = torch.where(filled[:, :, None], F.softplus(weights.float()), 0.0)
        return scores.squeeze(-1).float() + window_coverage(matches, weights, self.windows)


class DynamicTinyBertLayer(BertLayer):
    """Modifications: between attention and FFN, drops the least important tokens that are over the layer's budget.

    With `config.early_selection_until` it chooses before attention, and only the tokens that stay ask.
    Returns the states, the table of the tokens still there, and the learned scores of the tokens that came in (or `None`).
    """

    def __init__(self, config: DynamicTinyBertConfig, layer_idx: int | None = None):
        super().__init__(config, layer_idx=layer_idx)
        self.attention.self = DynamicTinyBertSelfAttention(config, layer_idx=layer_idx)
        self.may_drop = (layer_idx or 0) in dropping_layers(config)
        self.token_scorer = None
        if config.importance == "learned" and self.may_drop:
            self.token_scorer = TokenScorer(config, layer_idx or 0)
        until = config.protect_first_segment_until
        self.segment_goes = "last" if until is None or (layer_idx or 0) < until else "first"
        if not config.protect_first_segment:
            self.segment_goes = "by importance"
        self.config, self.layer_idx = config, layer_idx or 0

    @property
    def selects_early(self) -> bool:
        """Whether it chooses before its attention."""
        return self.layer_idx < self.config.early_selection_until and self.token_scorer is not None

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        table: TokenTable,
        budget: LayerBudget | None = None,
        output_token_scores: bool = False,
        **kwargs,
    ) -> tuple[torch.Tensor, TokenTable, torch.Tensor | None]:
        learned = self.token_scorer is not None and (budget is not None or output_token_scores)
        scores, slots, after, asking = None, None, table, hidden_states
        if learned and self.selects_early:
            scores = self._score(hidden_states, table)
            if budget is not None:
                slots, after = self._choose(scores, table, budget)
                asking = take_tokens(hidden_states, slots)
        votes = None if budget is None else table
        context, _, received = self._attend(hidden_states, asking, slots, attention_mask, table=votes, **kwargs)
        attended = self.attention.output(context, asking)
        if learned and not self.selects_early:
            scores = self._score(attended, table)
        if budget is not None and slots is None:
            slots, after = self._choose(received if scores is None else scores, table, budget)
            attended = take_tokens(attended, slots)
        return self.feed_forward_chunk(attended), after, scores if output_token_scores else None

    def _attend(self, hidden_states, asking, slots, attention_mask, **kwargs):
        """The attention of those that ask, who are in these slots, to all; without slots all ask."""
        if slots is None:
            return self.attention.self(hidden_states, attention_mask, **kwargs)
        if attention_mask is None or getattr(attention_mask, "ndim", 0) == 4:
            rows = None if attention_mask is None else attention_mask[:, :, : asking.shape[1]]  # all rows are alike
            return self.attention.self(hidden_states, rows, asking=asking, **kwargs)
        # Flash and flex attention's masks are for as many that ask as are asked
        context, *others = self.attention.self(hidden_states, attention_mask, **kwargs)
        return take_tokens(context, slots), *others

    def _score(self, states, table: TokenTable) -> torch.Tensor:
        """Learned importance."""
        return self.token_scorer(states, table.present, table.segment & table.present)

    def _choose(self, importance, table: TokenTable, budget: LayerBudget) -> tuple[torch.Tensor, TokenTable]:
        """The slots that stay, and their table."""
        kept = self._select(importance.detach(), table.present, table.cls, table.segment, budget.counts)
        slots, filled = compact_slots(kept, budget.width)
        return slots, table.take(slots, filled)

    def _select(self, importance, present, cls, segment, counts) -> torch.Tensor:
        """The tokens that stay, see `select_tokens`."""
        protected = cls
        if self.segment_goes == "last":
            protected = cls | segment
        elif self.segment_goes == "first":
            importance = importance.masked_fill(segment, torch.finfo(importance.dtype).min)
        return select_tokens(importance, present, protected, counts)


class DynamicTinyBertEncoder(BertEncoder):
    """Modifications: carries the table of tokens from layer to layer and restores the dropped ones at the end."""

    def __init__(self, config: DynamicTinyBertConfig):
        super().__init__(config)
        self.layer = nn.ModuleList([DynamicTinyBertLayer(config, layer_idx=i) for i in range(config.num_hidden_layers)])

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        table: TokenTable,
        length_config: Sequence[int | float] | None,
        layer_config: Sequence[int] | None = None,
        output_hidden_states: bool = False,
        output_token_scores: bool = False,
        **kwargs,
    ) -> DynamicTinyBertModelOutput:
        running = range(len(self.layer)) if layer_config is None else layer_config
        if length_config is not None:
            length_config = skip_layers(length_config, running, dropping_layers(self.config))
        budgets = plan_budgets(length_config, table.present, len(running))
        restored, whole = hidden_states, table
        states, scores = [hidden_states], []
        mask = create_bidirectional_mask(self.config, hidden_states, attention_mask)
        for index, budget in zip(running, budgets, strict=True):
            if budget is not None:
                restored = self._restore(restored, hidden_states, table, whole)
            before = table
            hidden_states, table, importance = self.layer[index](
                hidden_states, mask, table, budget, output_token_scores, **kwargs
            )
            if table is not before:
                mask = create_bidirectional_mask(self.config, hidden_states, table.present.to(torch.long))
            if output_token_scores and self.layer[index].may_drop:
                absent = importance.new_full(whole.present.shape, -torch.inf)
                importance = importance.masked_fill(~before.present, -torch.inf)
                scores.append(restore_tokens(absent, importance, before.positions, before.present))
            if output_hidden_states:
                states.append(self._restore(restored, hidden_states, table, whole))
        kept = None
        if table is not whole:
            nothing = torch.zeros_like(whole.present)
            kept = restore_tokens(nothing, table.present, table.positions, table.present)
        return DynamicTinyBertModelOutput(
            last_hidden_state=self._restore(restored, hidden_states, table, whole),
            hidden_states=tuple(states) if output_hidden_states else None,
            token_scores=tuple(scores) if output_token_scores else None,
            kept_tokens=kept,
        )

    @staticmethod
    def _restore(restored, hidden_states, table: TokenTable, whole: TokenTable) -> torch.Tensor:
        """All tokens' latest states; nothing to do as long as all are there."""
        if table is whole:
            return hidden_states
        return restore_tokens(restored, hidden_states, table.positions, table.filled)


class DynamicTinyBertPreTrainedModel(BudgetMixin, BertPreTrainedModel):
    """Modifications: configuration class; hidden states are collected by the encoder, which restores them."""

    config_class = DynamicTinyBertConfig
    _no_split_modules = ["DynamicTinyBertEmbeddings", "DynamicTinyBertLayer"]
    _can_record_outputs = {"attentions": DynamicTinyBertSelfAttention}
    _keys_to_ignore_on_load_unexpected = [r"\.token_scorer\."]  # another importance or fewer `drop_layers` leave them out

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TokenScorer):  # untrained, it knows which words question and passage share, and no more
            init.zeros_(module.unit.weight)
            init.zeros_(module.unit.bias)
            if module.rank:
                init.normal_(module.query.weight, std=module.rank**-0.5)  # a random projection keeps cosines
                init.copy_(module.key.weight, module.query.weight)
                init.zeros_(module.term_weight.weight)
                init.constant_(module.term_weight.bias, TERM_WEIGHT)
                init.constant_(module.slope, SLOPE)
                init.constant_(module.threshold, THRESHOLD)

    def save_pretrained(self, *args, **kwargs) -> None:
        """Writes the model, and this code beside it for those who load it with `trust_remote_code=True`.

        Parameters have their present names, whatever older ones they were loaded from: older BERT checkpoints say
        `LayerNorm.gamma`, which a Trainer of transformers 5.5 that resumes does not know.
        """
        kwargs.setdefault("save_original_format", False)
        self.config.auto_map = {"AutoConfig": f"configuration_dynamic_tinybert.{DynamicTinyBertConfig.__name__}"}
        super().save_pretrained(*args, **kwargs)

    def _upload_modified_files(self, working_dir: str, repo_id: str, *args, **kwargs):
        """What both ways of pushing come to, with our card where transformers has put its template."""
        try:
            from hf_dynbert.card import write_card
        except ImportError:  # who loaded this file with a repository's code has not the rest
            pass
        else:
            write_card(working_dir, repo_id)
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """As everywhere in transformers; weights that cannot be read are one clear error.

        Raises:
            OSError: weights that are damaged, incomplete, a pickle of more than tensors, or broke off on their way.
            ValueError: weights of other shapes than the configuration's, or an impossible configuration.
        """
        with one_clear_error(pretrained_model_name_or_path):
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def from_backbone(cls, source, layers: Sequence[int] | None = None, **config_overrides):
        """Makes this model from a BERT, RoBERTa or DistilBERT encoder, with or without a head; answers stay the same.

        Args:
            source (`str` or `PreTrainedModel`): a folder, a Hub id or a model.
            layers (`list[int]`, *optional*): take these layers of it alone, counted from 0 as in `drop_layers`; a student
                to distil, with the answers of none. Budgets of a deeper DynamicTinyBert are left behind.
            config_overrides: fields of [`DynamicTinyBertConfig`] to set, such as `importance="learned"`; and for a Hub id
                `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`.

        Returns:
            A model of this class; weights that the source does not have are new, and a warning names them.

        Raises:
            ValueError: the source's architecture is not supported (the error lists those that are), it lacks one of
                `layers`, is in int8, or a field is unknown.
        """
        return load_backbone(cls, source, layers, **config_overrides)

    def set_importance(self, importance: str) -> None:
        """Changes what decides which tokens stay, in the model and in its configuration; adds scorers or takes them off.

        New scorers know which words the first segment shares with the second, and no more: they need training.

        Args:
            importance (`str`): see [`DynamicTinyBertConfig`].

        Raises:
            ValueError: unknown importance.
        """
        if importance not in IMPORTANCES:
            raise ValueError(f"importance is {importance!r}; valid are {', '.join(map(repr, IMPORTANCES))}.")
        self.config.importance = importance
        for index, layer in enumerate(self.base_model.encoder.layer):
            if importance != "learned" or not layer.may_drop:
                layer.token_scorer = None
            elif layer.token_scorer is None:
                weight = layer.output.dense.weight
                layer.token_scorer = TokenScorer(self.config, index).to(weight.device, weight.dtype)
                layer.token_scorer.apply(self._init_weights)


class DynamicTinyBertModel(DynamicTinyBertPreTrainedModel, BertModel):
    """Modifications: encoder only; `length_config` and `layer_config` as arguments of the call.

    With tokens dropped, `hidden_states` are restored to the input's length layer by layer, while `attentions` (eager
    attention only, as everywhere) have the shape of the tokens that each layer saw: those that ask by those that are asked.
    """

    def __init__(self, config: DynamicTinyBertConfig, add_pooling_layer: bool = True):
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        self.embeddings = DynamicTinyBertEmbeddings(config)
        self.encoder = DynamicTinyBertEncoder(config)
        if self.pooler is not None:
            self.pooler.activation = ACT2FN[config.pooler_act]
        self.post_init()

    @capture_outputs
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        length_config: str | Sequence[int | float] | None = None,
        layer_config: Sequence[int] | None = None,
        output_hidden_states: bool | None = None,
        output_token_scores: bool = False,
        **kwargs,
    ) -> DynamicTinyBertModelOutput:
        r"""
        Args:
            length_config (`list`, `str`, *optional*): a length configuration, a budget's name, `"full"`, or `None` for the
                model's default; see [`DynamicTinyBertConfig`].
            layer_config (`list[int]`, *optional*): the layers that run, increasing (LayerDrop); all when not given.
            output_token_scores (`bool`, *optional*): whether to return the learned importance of every layer.

        Raises:
            ValueError: an impossible length configuration or an unknown budget (the error lists the known).
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        length_config = self.config.resolve_length_config(length_config)
        if output_token_scores and self.config.importance != "learned":
            raise ValueError(
                f"output_token_scores needs learned importance; this model has importance={self.config.importance!r}. "
                'Load it with importance="learned", or call set_importance("learned").'
            )
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        hidden_states = self.embeddings(
            input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids, inputs_embeds=inputs_embeds
        )
        present = self._present(hidden_states, attention_mask, needed=length_config is not None)
        output = self.encoder(
            hidden_states,
            attention_mask,
            self._table(present, token_type_ids, input_ids, needed=length_config is not None or output_token_scores),
            length_config,
            layer_config=layer_config,
            output_hidden_states=output_hidden_states,
            output_token_scores=output_token_scores,
            **kwargs,
        )
        if self.pooler is not None:
            output.pooler_output = self.pooler(output.last_hidden_state)
        return output

    @staticmethod
    def _present(hidden_states, attention_mask, needed: bool) -> torch.Tensor:
        """Real tokens, `(B, L)`."""
        if attention_mask is not None and attention_mask.dim() == 2:
            return attention_mask.bool()
        if attention_mask is not None and needed:
            raise ValueError(
                "Dropping tokens needs an attention_mask of shape (batch, length); "
                f"this one is {tuple(attention_mask.shape)}."
            )
        return torch.ones(hidden_states.shape[:2], dtype=torch.bool, device=hidden_states.device)

    def _table(self, present, token_type_ids, input_ids, needed: bool) -> TokenTable:
        """The table of all tokens. Who votes and who is protected is worked out only where tokens may be dropped."""
        positions = torch.arange(present.shape[1], device=present.device).expand(present.shape[0], -1)
        nothing = torch.zeros_like(present)
        filled, cls, segment, voters = torch.ones_like(present), nothing, nothing, None
        if needed:
            first = first_token(present)
            cls = first if self.config.keep_cls else nothing
            segment = first_segment(present, token_type_ids, input_ids, self.config.sep_token_id)
            voters = {"all": present, "question": segment, "cls": first, "learned": None}[self.config.importance]
        return TokenTable(positions, present, filled, cls, segment, voters)


class DynamicTinyBertForQuestionAnswering(DynamicTinyBertPreTrainedModel, BertForQuestionAnswering):
    """Modifications: `length_config` and its kin, see [`DynamicTinyBertModel`]; `config.dropped_logits`."""

    def __init__(self, config: DynamicTinyBertConfig):
        if config.num_labels != 2:
            raise ValueError(
                f"A question answering head has 2 outputs, start and end; this configuration has num_labels="
                f"{config.num_labels}. To put a new head on the encoder, load it with num_labels=2."
            )
        super().__init__(config)
        self.bert = DynamicTinyBertModel(config, add_pooling_layer=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        start_positions: torch.Tensor | None = None,
        end_positions: torch.Tensor | None = None,
        **kwargs,
    ) -> DynamicTinyBertQuestionAnsweringOutput:
        r"""
        Args:
            start_positions (`torch.LongTensor` of shape `(batch,)`, *optional*): tokens where the answers start.
            end_positions (`torch.LongTensor` of shape `(batch,)`, *optional*): tokens where the answers end.
            kwargs: `length_config`, `layer_config`, `output_token_scores` and others of [`DynamicTinyBertModel`].
        """
        outputs = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        start_logits, end_logits = self.qa_outputs(outputs.last_hidden_state).unbind(dim=-1)
        if outputs.kept_tokens is not None and self.config.dropped_logits == "mask":
            lowest = torch.finfo(start_logits.dtype).min
            start_logits = start_logits.masked_fill(~outputs.kept_tokens, lowest)
            end_logits = end_logits.masked_fill(~outputs.kept_tokens, lowest)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start_logits, end_logits, start_positions, end_positions)
        return DynamicTinyBertQuestionAnsweringOutput(
            loss=loss,
            start_logits=start_logits.contiguous(),
            end_logits=end_logits.contiguous(),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            token_scores=outputs.token_scores,
            kept_tokens=outputs.kept_tokens,
        )


class DynamicTinyBertForSequenceClassification(DynamicTinyBertPreTrainedModel, BertForSequenceClassification):
    """Modifications: `length_config` and its kin, see [`DynamicTinyBertModel`]."""

    def __init__(self, config: DynamicTinyBertConfig):
        super().__init__(config)
        self.bert = DynamicTinyBertModel(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs,
    ) -> DynamicTinyBertSequenceClassifierOutput:
        r"""
        Args:
            labels (`torch.Tensor` of shape `(batch,)` or `(batch, num_labels)`, *optional*): classes, targets of a
                regression (`num_labels=1`), or one mark a label; `config.problem_type` says which when shapes do not.
            kwargs: `length_config`, `layer_config`, `output_token_scores` and others of [`DynamicTinyBertModel`].
        """
        outputs = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels, logits, self.config)
        return DynamicTinyBertSequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            token_scores=outputs.token_scores,
            kept_tokens=outputs.kept_tokens,
        )


DynamicTinyBertModel.register_for_auto_class("AutoModel")
DynamicTinyBertForQuestionAnswering.register_for_auto_class("AutoModelForQuestionAnswering")
DynamicTinyBertForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
