# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""DynamicTinyBert: transformers' BERT that drops tokens. Each class docstring lists only what differs from the parent."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

import torch
from torch import nn
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
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertLayer,
    BertModel,
    BertPooler,
    BertPreTrainedModel,
    eager_attention_forward,
)
from transformers.utils.generic import TransformersKwargs, can_return_tuple
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_dynamic_tinybert import DynamicTinyBertConfig
from .drop_and_restore import (
    LayerPlan,
    Selection,
    TokenState,
    first_segment,
    first_token,
    plan_layers,
    restore_tokens,
    take_tokens,
)
from .importance import IMPORTANCES, TokenScorer
from .int8_quantizer import DynamicInt8Config  # noqa: F401 (registers int8 also where this file is loaded alone)
from .subnetwork import SubNetwork, dropping_layers, refuse_unknown_arguments, resolve_arguments


try:
    from hf_dynbert.model_methods import PackageMethods
except ImportError:  # this file was loaded from a repository, and the package is not installed

    class PackageMethods:
        """Placeholders for the methods that need the package."""

        def _needs_package(*args, **kwargs):
            raise ImportError("This method needs the package: pip install hf_dynbert")

        from_backbone = choose_budget = set_importance = _needs_package


# Never executed: where this package is not installed, transformers finds here the other files that it must load
if TYPE_CHECKING:
    from .int8_kernels import kernel_for  # noqa: F401
    from .int8_layers import Int8Linear  # noqa: F401

BudgetArgument = str | Sequence[int | float] | dict | SubNetwork | None
LengthConfigArgument = str | Sequence[int | float] | None


class DynamicTinyBertKwargs(TransformersKwargs, total=False):
    """Further keyword arguments of a call: those of transformers, and `output_token_scores`."""

    output_token_scores: bool


@dataclass
class DynamicTinyBertOutput:
    """The fields that every output of this module has in addition to its parent's; L is the length of the input.

    Args:
        token_scores (`tuple[torch.FloatTensor]`, *optional*, with `output_token_scores=True`):
            Learned importance, one `(batch, L)` for each layer that ran and may drop; minus infinity for tokens that an
            earlier layer dropped and for padding.
        kept_tokens (`torch.BoolTensor` of shape `(batch, L)`, *optional*, when tokens were dropped):
            Tokens that no layer dropped.
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


def shared_outputs(outputs: DynamicTinyBertModelOutput) -> dict:
    """Returns the fields of the encoder's output that every head returns too."""
    return {name: getattr(outputs, name) for name in ("hidden_states", "attentions", "token_scores", "kept_tokens")}


@dataclass
class Attention:
    """The result of a layer's attention for K query tokens and N tokens that they attend to.

    `context` `(B, K, H)` is the result before the output projection, `query` `(B, A, K, H / A)` and `key` `(B, A, N, H / A)`
    are projected states, `scaling` is the factor of the scores, and `weights` `(B, A, K, N)` are the probabilities, with
    eager attention.
    """

    context: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor
    scaling: float
    weights: torch.Tensor | None = None


class BertAdapter:
    """Access to the parts of a BERT encoder. An encoder of another architecture has an adapter with the same functions."""

    @staticmethod
    def layers(encoder_model: nn.Module) -> nn.ModuleList:
        """Returns the layers of a model without a head."""
        return encoder_model.encoder.layer

    @staticmethod
    def attention_module(layer: nn.Module) -> nn.Module:
        """Returns the module that attention functions take, with `scaling` and `dropout`."""
        return layer.attention.self

    @staticmethod
    def project(layer: nn.Module, states: torch.Tensor, query_states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Returns queries of `query_states`, keys and values of `states`, each `(B, A, tokens, H / A)`."""
        attention = layer.attention.self

        def heads(projection, tokens):
            return projection(tokens).view(*tokens.shape[:-1], -1, attention.attention_head_size).transpose(1, 2)

        return heads(attention.query, query_states), heads(attention.key, states), heads(attention.value, states)

    @staticmethod
    def attention_output(layer: nn.Module, context: torch.Tensor, query_states: torch.Tensor) -> torch.Tensor:
        """Returns the states after attention, with the residual connection."""
        return layer.attention.output(context, query_states)

    @staticmethod
    def feed_forward(layer: nn.Module, attended: torch.Tensor) -> torch.Tensor:
        """Returns the states after the FFN, with the residual connection."""
        return layer.feed_forward_chunk(attended)


def attend(layer, states, query_states, tokens: TokenState, selection: Selection | None = None, **kwargs) -> Attention:
    """Attends from `query_states`, which are all states or the selected states, with the configured attention function."""
    mask = tokens.attention_mask
    if selection is not None and getattr(mask, "ndim", 4) != 4:
        # Masks of flash and flex attention need as many queries as keys, so all tokens are queries here
        attention = attend(layer, states, states, tokens, **kwargs)
        attention.context = take_tokens(attention.context, selection.slots)
        return attention
    if mask is not None and selection is not None:
        mask = mask[:, :, : query_states.shape[1]]  # all rows of the mask are equal
    module = layer.adapter.attention_module(layer)
    query, key, value = layer.adapter.project(layer, states, query_states)
    attention_function = ALL_ATTENTION_FUNCTIONS.get_interface(layer.config._attn_implementation, eager_attention_forward)
    dropout = module.dropout.p if layer.training else 0.0
    context, weights = attention_function(module, query, key, value, mask, dropout=dropout, scaling=module.scaling, **kwargs)
    return Attention(context.reshape(query_states.shape).contiguous(), query, key, module.scaling, weights)


def layer_step(
    layer, states, tokens: TokenState, plan: LayerPlan | None, attend=attend, output_token_scores=False, **kwargs
) -> tuple[torch.Tensor, TokenState, torch.Tensor | None, Attention]:
    """One layer: attend, select, feed forward. The eager encoder and the exported graph both run this function.

    With `config.early_selection_until` a layer selects before attention, and only the selected tokens are queries. Without
    a plan the layer keeps all tokens, and scores them only for `output_token_scores`.

    Returns:
        The states and the tokens that leave the layer, the scores `(B, N)` of the tokens that entered it or `None`, and the
        attention.
    """
    importance = IMPORTANCES[layer.config.importance]
    needs_scores = plan is not None or (output_token_scores and layer.may_drop)
    scores, selection, query_states = None, None, states
    if needs_scores and layer.selects_early:
        scores = importance.score(layer, states, tokens, None)
        if plan is not None:
            selection = tokens.select(scores, layer, plan)
            query_states = tokens.drop(states, selection)
    attention = attend(layer, states, query_states, tokens, selection, **kwargs)
    attended = layer.adapter.attention_output(layer, attention.context, query_states)
    if needs_scores and not layer.selects_early:
        scores = importance.score(layer, attended, tokens, attention)
        if plan is not None:
            selection = tokens.select(scores, layer, plan)
            attended = tokens.drop(attended, selection)
    if selection is not None:
        tokens = tokens.take(selection)
    return layer.adapter.feed_forward(layer, attended), tokens, scores, attention


class DynamicTinyBertEmbeddings(BertEmbeddings):
    """Modifications: with `config.position_ids_start` above 0, positions count the tokens that are not padding."""

    def __init__(self, config: DynamicTinyBertConfig):
        super().__init__(config)
        self.pad_token_id, self.position_ids_start = config.pad_token_id, config.position_ids_start

    def forward(self, input_ids=None, token_type_ids=None, position_ids=None, inputs_embeds=None):
        if position_ids is None and self.position_ids_start > 0:
            position_ids = self._counted_positions(input_ids, inputs_embeds)
        return super().forward(input_ids, token_type_ids, position_ids, inputs_embeds)

    def _counted_positions(self, input_ids, inputs_embeds):
        if input_ids is None:  # padding is unknown: all tokens count, as in RoBERTa
            token = torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
        else:
            token = (input_ids != self.pad_token_id).long()
        return token.cumsum(dim=1) * token + self.position_ids_start - 1


class DynamicTinyBertLayer(BertLayer):
    """Modifications: between attention and FFN, drops the least important tokens; see [`layer_step`]."""

    adapter = BertAdapter

    def __init__(self, config: DynamicTinyBertConfig, layer_idx: int = 0):
        super().__init__(config, layer_idx=layer_idx)
        self.config, self.layer_idx = config, layer_idx
        self.may_drop = layer_idx in dropping_layers(config)
        self.token_scorer = IMPORTANCES[config.importance].make_scorer(config, layer_idx) if self.may_drop else None
        self.keep_cls = config.keep_cls
        until = config.protect_first_segment_until
        if not config.protect_first_segment:
            self.segment_drop_order = "by importance"
        elif until is None or layer_idx < until:
            self.segment_drop_order = "last"
        else:
            self.segment_drop_order = "first"

    @property
    def selects_early(self) -> bool:
        """Whether the layer selects tokens before attention."""
        return self.may_drop and self.layer_idx in self.config.early_layers

    def forward(self, hidden_states, tokens: TokenState, plan: LayerPlan | None, output_token_scores: bool, **kwargs):
        """See [`layer_step`]; the last result is the attention probabilities."""
        states, tokens, scores, attention = layer_step(
            self, hidden_states, tokens, plan, output_token_scores=output_token_scores, **kwargs
        )
        return states, tokens, scores, attention.weights


class DynamicTinyBertEncoder(nn.Module):
    """BERT's encoder that passes the tokens' state from layer to layer and restores dropped tokens at the end."""

    def __init__(self, config: DynamicTinyBertConfig):
        super().__init__()
        self.config = config
        self.layer = nn.ModuleList([DynamicTinyBertLayer(config, layer_idx=i) for i in range(config.num_hidden_layers)])

    def forward(
        self, hidden_states, tokens, attention_mask, subnetwork, output_hidden_states, output_token_scores, **kwargs
    ) -> DynamicTinyBertModelOutput:
        input_tokens = tokens
        last_states = hidden_states  # (B, L, H): the state of every input token before the last drop
        all_hidden_states, token_scores = [hidden_states], []
        tokens.attention_mask = create_bidirectional_mask(self.config, hidden_states, attention_mask)
        min_tokens = 0 if self.training else self.config.min_tokens_to_drop  # LengthDrop trains inputs of any length
        for index, plan in plan_layers(self.config, subnetwork, tokens.token_mask, min_tokens):
            if plan is not None:
                last_states = self._restore(last_states, hidden_states, tokens, input_tokens)
            entering, layer = tokens, self.layer[index]
            hidden_states, tokens, scores, _ = layer(hidden_states, tokens, plan, output_token_scores, **kwargs)
            if tokens is not entering:
                tokens.attention_mask = create_bidirectional_mask(self.config, hidden_states, tokens.token_mask.long())
            if output_token_scores and layer.may_drop:
                absent = scores.new_full(input_tokens.token_mask.shape, -torch.inf)
                scores = scores.masked_fill(~entering.token_mask, -torch.inf)
                token_scores.append(restore_tokens(absent, scores, entering.positions, entering.token_mask))
            if output_hidden_states:
                all_hidden_states.append(self._restore(last_states, hidden_states, tokens, input_tokens))
        kept_tokens = None
        if tokens is not input_tokens:
            nothing = torch.zeros_like(input_tokens.token_mask)
            kept_tokens = restore_tokens(nothing, tokens.token_mask, tokens.positions, tokens.token_mask)
        return DynamicTinyBertModelOutput(
            last_hidden_state=self._restore(last_states, hidden_states, tokens, input_tokens),
            hidden_states=tuple(all_hidden_states) if output_hidden_states else None,
            token_scores=tuple(token_scores) if output_token_scores else None,
            kept_tokens=kept_tokens,
        )

    @staticmethod
    def _restore(last_states, hidden_states, tokens: TokenState, input_tokens: TokenState) -> torch.Tensor:
        """The latest state of every token of the input: `hidden_states` of kept tokens, `last_states` of dropped tokens."""
        if tokens is input_tokens:
            return hidden_states
        return restore_tokens(last_states, hidden_states, tokens.positions, tokens.slot_mask)


class DynamicTinyBertPreTrainedModel(PackageMethods, BertPreTrainedModel):
    """Modifications: configuration class; the encoder collects the hidden states, since it restores them."""

    config_class = DynamicTinyBertConfig
    _no_split_modules = ["DynamicTinyBertEmbeddings", "DynamicTinyBertLayer"]
    _can_record_outputs = {"attentions": OutputRecorder(DynamicTinyBertLayer, index=3)}
    _keys_to_ignore_on_load_unexpected = [r"\.token_scorer\."]  # of other importances or `drop_layers`

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TokenScorer):
            module.initialize()

    def save_pretrained(self, *args, **kwargs) -> None:
        """Writes the model and this code, which `trust_remote_code=True` loads."""
        kwargs.setdefault("save_original_format", False)  # a Trainer cannot resume from `LayerNorm.gamma`
        self.config.auto_map = {"AutoConfig": f"configuration_dynamic_tinybert.{DynamicTinyBertConfig.__name__}"}
        super().save_pretrained(*args, **kwargs)

    def _refuse_unknown(self, arguments: dict) -> None:
        """Refuses keyword arguments of a call that neither this class nor transformers has."""
        known = DynamicTinyBertKwargs.__annotations__
        if not arguments.keys() <= known.keys():
            own = set(inspect.signature(self.forward).parameters) - {"kwargs"}
            refuse_unknown_arguments(arguments, [*own, *known, "return_dict"])


class DynamicTinyBertModel(DynamicTinyBertPreTrainedModel, BertModel):
    """Modifications: encoder only; `budget` and `length_config` as arguments of the call.

    If tokens are dropped, the `hidden_states` of each layer are restored to the input's length. `attentions` (eager
    attention only) are not: their shape is the layer's query tokens by the tokens that they attend to.
    """

    def __init__(self, config: DynamicTinyBertConfig, add_pooling_layer: bool = True):
        config.check()  # its lists and dictionaries may have been changed in place
        size, heads = config.hidden_size, config.num_attention_heads
        if size % heads:
            raise ValueError(f"hidden_size is {size}; with num_attention_heads={heads} valid are its multiples.")
        super(BertModel, self).__init__(config)  # BertModel would make layers that this class replaces
        self.embeddings = DynamicTinyBertEmbeddings(config)
        self.encoder = DynamicTinyBertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        if add_pooling_layer:
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
        budget: BudgetArgument = None,
        length_config: LengthConfigArgument = None,
        output_hidden_states: bool | None = None,
        output_token_scores: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> DynamicTinyBertModelOutput:
        r"""
        Args:
            budget (`str`, `list`, `dict` or `SubNetwork`, *optional*): the sub-network that runs, by the name of a budget, a
                length configuration, or the fields of [`~hf_dynbert.subnetwork.SubNetwork`]; `None` is the model's default.
            length_config (`list` or `str`, *optional*): short form of `budget` for a length configuration or a name.
            output_token_scores (`bool`, *optional*, defaults to `False`): whether to return each layer's learned importance.

        Raises:
            ValueError: an unknown budget (the error lists the valid ones), an impossible value, both arguments, or inputs
                outside of the embeddings.
            TypeError: an unknown keyword argument.
        """
        self._refuse_unknown(kwargs)
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        self._check_inputs(input_ids, token_type_ids, position_ids, inputs_embeds)
        if token_type_ids is None and (types := self.config.token_types(input_ids, attention_mask)) is not None:
            token_type_ids = types.long()
        subnetwork = resolve_arguments(self.config, budget, length_config)
        if output_token_scores and not IMPORTANCES[self.config.importance].is_learned:
            raise ValueError(
                f"output_token_scores needs learned importance; this model has importance={self.config.importance!r}. "
                'Load it with importance="learned", or call set_importance("learned").'
            )
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        hidden_states = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        may_drop = subnetwork.length_config is not None
        if may_drop and attention_mask is not None and attention_mask.shape != hidden_states.shape[:2]:
            shapes = f"{tuple(hidden_states.shape[:2])}; this one has {tuple(attention_mask.shape)}"
            raise ValueError(f"Dropping tokens needs an attention_mask of shape (batch, length), here {shapes}.")
        tokens = self._token_state(hidden_states, attention_mask, token_type_ids, input_ids, may_drop or output_token_scores)
        output = self.encoder(
            hidden_states, tokens, attention_mask, subnetwork, output_hidden_states, output_token_scores, **kwargs
        )
        if self.pooler is not None:
            output.pooler_output = self.pooler(output.last_hidden_state)
        return output

    def _check_inputs(self, input_ids, token_type_ids, position_ids, inputs_embeds) -> None:
        """Refuses wrong inputs, except in a trace or a compiled graph. On an accelerator it checks only shapes."""
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            return
        texts = inputs_embeds if input_ids is None else input_ids
        if not isinstance(texts, torch.Tensor):
            valid = 'valid are tensors, as in model(**tokenizer(question, context, return_tensors="pt"))'
            raise TypeError(f"Inputs are of the type {type(texts).__name__}; {valid}.")
        # Other types of tensors, such as torch.export's, may have no values
        check_values = texts.device.type == "cpu" and type(texts) is torch.Tensor
        self.config.check_inputs(input_ids, token_type_ids, position_ids, inputs_embeds, check_values)

    def _token_state(self, hidden_states, attention_mask, token_type_ids, input_ids, with_roles: bool) -> TokenState:
        """The state of all tokens; `with_roles` also finds the first token and the first segment."""
        if attention_mask is not None and attention_mask.dim() == 2:
            token_mask = attention_mask.bool()
        else:
            token_mask = torch.ones(hidden_states.shape[:2], dtype=torch.bool, device=hidden_states.device)
        first = segment = torch.zeros_like(token_mask)
        if with_roles:
            first = first_token(token_mask)
            segment = first_segment(token_mask, token_type_ids, input_ids, self.config.sep_token_id)
        positions = torch.arange(token_mask.shape[1], device=token_mask.device).expand(token_mask.shape[0], -1)
        return TokenState(positions, token_mask, torch.ones_like(token_mask), first, segment)


class DynamicTinyBertForQuestionAnswering(DynamicTinyBertPreTrainedModel, BertForQuestionAnswering):
    """Modifications: `budget` and `length_config`, see [`DynamicTinyBertModel`]; `config.dropped_logits`."""

    def __init__(self, config: DynamicTinyBertConfig):
        if config.num_labels != 2:
            raise ValueError(
                f"A question answering head has 2 outputs, start and end; this configuration has num_labels="
                f"{config.num_labels}. To put a new head on the encoder, load it with num_labels=2."
            )
        # BertForQuestionAnswering would make an encoder that this class replaces
        super(BertForQuestionAnswering, self).__init__(config)
        self.num_labels = config.num_labels
        self.bert = DynamicTinyBertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)
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
        budget: BudgetArgument = None,
        length_config: LengthConfigArgument = None,
        **kwargs: Unpack[DynamicTinyBertKwargs],
    ) -> DynamicTinyBertQuestionAnsweringOutput:
        r"""
        Args:
            start_positions, end_positions (`torch.LongTensor` of shape `(batch,)`, *optional*): indices of the tokens that
                start and end each answer.
            budget, length_config, kwargs: see [`DynamicTinyBertModel`].
        """
        self._refuse_unknown(kwargs)
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        outputs = self.bert(*inputs, budget, length_config, return_dict=True, **kwargs)
        logits = self.qa_outputs(outputs.last_hidden_state)
        if outputs.kept_tokens is not None and self.config.dropped_logits == "mask":
            logits = logits.masked_fill(~outputs.kept_tokens[:, :, None], torch.finfo(logits.dtype).min)
        start_logits, end_logits = (part.contiguous() for part in logits.unbind(dim=-1))
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start_logits, end_logits, start_positions, end_positions)
        return DynamicTinyBertQuestionAnsweringOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            **shared_outputs(outputs),
        )


class DynamicTinyBertForSequenceClassification(DynamicTinyBertPreTrainedModel, BertForSequenceClassification):
    """Modifications: `budget` and `length_config`, see [`DynamicTinyBertModel`]."""

    def __init__(self, config: DynamicTinyBertConfig):
        # BertForSequenceClassification would make an encoder that this class replaces
        super(BertForSequenceClassification, self).__init__(config)
        self.num_labels = config.num_labels
        self.bert = DynamicTinyBertModel(config)
        dropout = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
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
        budget: BudgetArgument = None,
        length_config: LengthConfigArgument = None,
        **kwargs: Unpack[DynamicTinyBertKwargs],
    ) -> DynamicTinyBertSequenceClassifierOutput:
        r"""
        Args:
            labels (`torch.Tensor` of shape `(batch,)` or `(batch, num_labels)`, *optional*): classes, targets of a
                regression (`num_labels=1`), or 0 and 1 for each label; `config.problem_type` decides between them.
            budget, length_config, kwargs: see [`DynamicTinyBertModel`].
        """
        self._refuse_unknown(kwargs)
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        outputs = self.bert(*inputs, budget, length_config, return_dict=True, **kwargs)
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        return DynamicTinyBertSequenceClassifierOutput(loss=loss, logits=logits, **shared_outputs(outputs))


DynamicTinyBertModel.register_for_auto_class("AutoModel")
DynamicTinyBertForQuestionAnswering.register_for_auto_class("AutoModelForQuestionAnswering")
DynamicTinyBertForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
