# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Configuration of DynamicTinyBert: BERT's fields, and the fields that decide which tokens are kept."""

import copy
import re
from dataclasses import field
from typing import TYPE_CHECKING, Any

from transformers import BertConfig
from transformers.activations import ACT2FN

from .importance import IMPORTANCES
from .subnetwork import FULL, SubNetwork


# Never executed: where this package is not installed, transformers finds here the other files that it must load
if TYPE_CHECKING:
    from .drop_and_restore import TokenState  # noqa: F401


DROPPED_LOGITS = ("restore", "mask")
# Dropping makes short inputs slower. In OpenVINO int8, a budget that loses little accuracy is as fast as full length at
# 128 tokens (question answering, 7.0 ms) or 128 to 192 (a classifier). `hf-dynbert search` measures a model's own value.
MIN_TOKENS_TO_DROP = 128
BUDGET_NAME = r"[\w.-]{1,64}"  # names of budgets appear in model cards, tables and command lines
LARGEST = 2**31 - 1  # sizes of tensors and indices fit 32 bits in exported graphs
SIZES = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "type_vocab_size",
)  # fmt: skip
COUNTS = (
    "importance_match", "importance_match_until", "early_selection_until", "protect_first_segment_until",
    "min_tokens_to_drop", "sep_token_id", "pad_token_id", "position_ids_start",
)  # fmt: skip
# The smallest and the largest value of each numeric field. A float field takes integers too.
RANGES = {
    **dict.fromkeys(SIZES, (1, LARGEST)),
    **dict.fromkeys(COUNTS, (0, LARGEST)),
    **dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"), (0.0, 1.0)),
    "num_labels": (1, 10**6),
    **dict.fromkeys(("initializer_range", "layer_norm_eps"), (0.0, float(LARGEST))),
}
OPTIONAL = ("classifier_dropout", "importance_match_until", "protect_first_segment_until", "sep_token_id", "pad_token_id")
CHOICES = {
    "importance": IMPORTANCES,
    "dropped_logits": DROPPED_LOGITS,
    "hidden_act": tuple(ACT2FN),
    "pooler_act": tuple(ACT2FN),
    "keep_cls": (True, False),
    "protect_first_segment": (True, False),
    "fill_token_type_ids": (True, False),
}
CHECKED = {*CHOICES, "drop_layers", "importance_windows", "budgets", "length_config", "task", *RANGES}
CHECKED.remove("num_labels")  # transformers computes it from the names of the labels


class DynamicTinyBertConfig(BertConfig):
    r"""
    Configuration of [`DynamicTinyBertModel`]: a BERT encoder that drops tokens layer by layer and restores them at the
    end (Length-Adaptive Transformer, arXiv 2010.07003; Dynamic-TinyBERT, arXiv 2111.09645).

    These are the fields that [`~transformers.BertConfig`] does not have.

    Args:
        length_config (`list[int]`, `list[float]` or `str`, *optional*):
            Default of a call: a length configuration or the name of a budget. A length configuration has one entry for each
            layer and never increases. An integer is the largest number of tokens of an example that leave the layer, a float
            in (0, 1] is a share of the example's own real tokens, rounded up. `None` keeps all tokens.
        budgets (`dict[str, list or dict]`, *optional*):
            Sub-networks by name; `budget=` takes the name. An entry is a length configuration, or a `dict` with the fields
            of [`~hf_dynbert.subnetwork.SubNetwork`] that differ from the whole model and with measured values, see
            [`~hf_dynbert.budgets.budget.Budget`]. The name `"full"` is reserved: it keeps all tokens.
        drop_layers (`list[int]`, *optional*):
            Indices from 0 of the layers that may drop tokens; `None` means all layers. The other layers have no scorer and
            are as fast as BERT's in an exported graph.
        importance (`str`, *optional*, defaults to `"all"`):
            The importance by which a layer keeps tokens. `"all"`, `"question"`, `"cls"`: the attention that a token receives
            from all real tokens (the papers' signal), from the first segment, or from CLS. `"learned"`: a trained scorer of
            each layer. `hf_dynbert.importance.register_importance` adds others.
        importance_match (`int`, *optional*, defaults to 64), importance_match_until (`int`, *optional*):
            Learned importance only. Dimensions in which the tokens around a token are matched with those of the first
            segment (the question), and number of leading layers that match (`None`: all layers). Other layers, and all
            layers with 0 dimensions, score a token by its own state.
        importance_windows (`list[int]`, *optional*, defaults to `[0, 4, 12, 36]`):
            Learned importance only. Number of tokens on each side in which a term is matched, one entry for each window.
        early_selection_until (`int`, *optional*, defaults to 0):
            Learned importance only. Number of leading layers that select tokens before self-attention. Dropped tokens still
            serve as keys and values, but not as queries. Later layers select tokens after self-attention.
        keep_cls (`bool`, *optional*, defaults to `True`):
            Whether the first token is never dropped.
        protect_first_segment (`bool`, *optional*, defaults to `False`), protect_first_segment_until (`int`, *optional*):
            Whether the first segment (the question) is dropped only after all other tokens, and number of leading layers
            that protect it (`None`: all layers). Later layers drop the first segment before all other tokens (not CLS),
            since states of the second segment then contain enough of the question.
        min_tokens_to_drop (`int`, *optional*):
            An example with fewer real tokens keeps all of them at every budget, since dropping would be slower; not in
            training mode. The default is 128, and 0 for configuration files that were saved without this field.
        dropped_logits (`str`, *optional*, defaults to `"restore"`):
            Question answering only. `"restore"`: the logits of a dropped token come from its last state, as in the papers.
            `"mask"`: a dropped token cannot be part of an answer.
        sep_token_id (`int`, *optional*, defaults to 102):
            Id of the separator token that ends the first segment, for tokenizers without token types.
        position_ids_start (`int`, *optional*, defaults to 0):
            First row of the position embeddings in use. Above 0, positions count the tokens other than padding, as RoBERTa
            does from `pad_token_id + 1`.
        pooler_act (`str`, *optional*, defaults to `"tanh"`):
            Activation of the pooler; DistilBERT's classifier has `"relu"`.
        fill_token_type_ids (`bool`, *optional*, defaults to `False`):
            Whether a call without `token_type_ids` gets those of BERT's tokenizer: 0 up to the first separator, 1 behind it.
            BERT's own default is 0 for both texts of a pair, with which a reranker ranks wrongly. `hf-dynbert convert` and
            `train` set it for tokenizers that make token types.
        task (`str`, *optional*):
            Task of the head, where several tasks share it: `"reranking"` for a classifier of pairs that scores passages.

    Example: `DynamicTinyBertConfig(num_hidden_layers=6, budgets={"fast": [1.0, 0.6, 0.5, 0.3, 0.3, 0.3]})`.
    """

    model_type = "dynamic_tinybert"
    keys_to_ignore_at_inference = ["hidden_states", "attentions", "token_scores", "kept_tokens"]

    length_config: list[int | float] | str | None = None
    budgets: dict[str, list[int | float] | dict[str, Any]] | None = None
    drop_layers: list[int] | None = None
    importance: str = "all"
    importance_match: int = 64
    importance_match_until: int | None = None
    importance_windows: list[int] = field(default_factory=lambda: [0, 4, 12, 36])
    early_selection_until: int = 0
    keep_cls: bool = True
    protect_first_segment: bool = False
    protect_first_segment_until: int | None = None
    min_tokens_to_drop: int | None = None
    dropped_logits: str = "restore"
    sep_token_id: int | None = 102
    position_ids_start: int = 0
    pooler_act: str = "tanh"
    task: str | None = None
    fill_token_type_ids: bool = False

    def __post_init__(self, **kwargs):
        saved = kwargs.get("model_type") == self.model_type  # the fields come from a config.json
        if self.min_tokens_to_drop is None:
            self.min_tokens_to_drop = 0 if saved else MIN_TOKENS_TO_DROP  # files of version 0.1 dropped at any length
        super().__post_init__(**kwargs)
        self.check()
        if not saved:
            _check_new_names(self.budgets)

    def __setattr__(self, name, value):
        """Refuses a value that is impossible with the other fields. `from_pretrained` also sets its overrides here."""
        if name in CHECKED and self.__dict__.keys() >= CHECKED:
            self._check_changes({name: value})
        elif name in CHECKED | {"num_labels"} and name != "min_tokens_to_drop":  # `__post_init__` replaces its `None`
            _check_field(name, value)
        super().__setattr__(name, value)

    def update(self, config_dict: dict[str, Any]) -> None:
        """Sets several fields at once and checks only the result."""
        checked = {name: value for name, value in config_dict.items() if name in CHECKED}
        self._check_changes(checked)
        super().update({name: value for name, value in config_dict.items() if name not in CHECKED})
        self.__dict__.update(checked)

    def _check_changes(self, changes: dict[str, Any]) -> None:
        changed = copy.copy(self)
        changed.__dict__.update(changes)
        changed.check()
        _check_new_names(changed.budgets, self.budgets)

    def check(self) -> None:
        """Raises a `ValueError` that shows the valid values if a field has an impossible value."""
        for name in CHECKED:
            _check_field(name, getattr(self, name))
        if (self.pad_token_id or 0) >= self.vocab_size:
            raise ValueError(f"pad_token_id is {self.pad_token_id}; valid are 0 to {self.vocab_size - 1}, see vocab_size.")
        layers, depth = self.drop_layers, self.num_hidden_layers
        if layers is not None and not _are_indices(layers, depth):
            raise ValueError(
                f"drop_layers is {layers!r}; valid are lists of layers from 0 to {depth - 1}, for example [0], and None for "
                "all layers."
            )
        for name in [*(self.budgets or {}), None]:
            try:
                self.resolve_budget(name)
            except ValueError as error:
                where = "The default length_config is impossible" if name is None else f'budgets["{name}"]'
                raise ValueError(f"{where}: {error}") from None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs):
        """Makes a configuration from a dictionary; keyword arguments replace its fields before anything is checked."""
        overrides = {name: value for name, value in kwargs.items() if name in cls.__dataclass_fields__}
        config = super().from_dict({**config_dict, **overrides}, **kwargs)
        _check_new_names(overrides.get("budgets"), config_dict.get("budgets"))
        return config

    def save_pretrained(self, save_directory, *args, **kwargs):
        """Writes the configuration after a check, since its lists and dictionaries may have been changed in place."""
        self.check()
        return super().save_pretrained(save_directory, *args, **kwargs)

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens of an input: the rows of the position embeddings from `position_ids_start` on."""
        return self.max_position_embeddings - self.position_ids_start

    @property
    def early_layers(self) -> range:
        """Indices of the layers that select tokens before their attention, see `early_selection_until`."""
        return range(self.early_selection_until if IMPORTANCES[self.importance].may_select_early else 0)

    def resolve_budget(self, budget=None) -> SubNetwork:
        """Returns the sub-network that a value of the `budget=` argument selects, see [`SubNetwork.parse`]."""
        return SubNetwork.parse(self, budget)

    def check_inputs(
        self, input_ids=None, token_type_ids=None, position_ids=None, inputs_embeds=None, check_values: bool = True
    ) -> None:
        """Refuses inputs that index an embedding outside its rows, for which OpenVINO raises no error.

        Inputs are arrays or tensors. `check_values=False` reads only shapes: reading values would wait for an
        accelerator.

        Raises:
            ValueError: no text, no token, more tokens than positions, or a value outside of its embedding.
        """
        if input_ids is not None:
            name, shape, axes = "input_ids", tuple(input_ids.shape), ("batch", "length")
        else:
            name, shape, axes = "inputs_embeds", tuple(inputs_embeds.shape), ("batch", "length", "hidden_size")
        if len(shape) != len(axes) or 0 in shape:
            raise ValueError(
                f"{name} has the shape {shape}; valid is ({', '.join(axes)}) with at least one text of one token, as in "
                'model(**tokenizer(question, context, return_tensors="pt")).'
            )
        tokens = shape[1]
        if position_ids is None and tokens > self.max_tokens:
            if self.position_ids_start > 0 and input_ids is not None:  # padding takes no position
                tokens = int((input_ids != self.pad_token_id).sum(1).max())
            if tokens > self.max_tokens:
                raise ValueError(
                    f"{tokens} tokens; this model reads {self.max_tokens}. Cut the text with "
                    f"tokenizer(..., truncation=True, max_length={self.max_tokens}), or into several windows."
                )
        if not check_values:
            return
        if input_ids is not None:
            _check_rows("input_ids", input_ids, self.vocab_size, " After adding tokens to a tokenizer, resize the model.")
        if token_type_ids is not None:
            hint = " Call the tokenizer with return_token_type_ids=False." if self.type_vocab_size < 2 else ""
            _check_rows("token_type_ids", token_type_ids, self.type_vocab_size, hint)
        if position_ids is not None:
            _check_rows("position_ids", position_ids, self.max_position_embeddings)

    def token_types(self, input_ids, attention_mask=None):
        """The `token_type_ids` `(batch, length)` of a call that has none, see `fill_token_type_ids`; `None`: all are 0."""
        if not self.fill_token_type_ids or self.type_vocab_size < 2 or self.sep_token_id is None or input_ids is None:
            return None
        real = input_ids != self.pad_token_id
        if attention_mask is not None and attention_mask.shape == input_ids.shape:
            real = real & (attention_mask > 0)
        separators = (input_ids == self.sep_token_id) & real
        return (separators.cumsum(1) > separators) & real  # a separator is before the token

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs) -> tuple[dict, dict]:
        """Reads a configuration of this class or of a BERT checkpoint; refuses other architectures."""
        config_dict, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        model_type = config_dict.get("model_type", cls.model_type)
        if model_type == "bert" and "dynamic_model_type" not in config_dict:
            config_dict["model_type"] = cls.model_type
            config_dict.setdefault("min_tokens_to_drop", MIN_TOKENS_TO_DROP)  # not saved by this package
        elif model_type == "bert":
            config_dict["model_type"] = config_dict.pop("dynamic_model_type")
        elif model_type != cls.model_type:
            raise ValueError(
                f"{pretrained_model_name_or_path} is a {model_type!r} checkpoint. from_pretrained takes 'bert' and "
                f"'{cls.model_type}'; from_backbone({str(pretrained_model_name_or_path)!r}) takes 'bert', 'roberta', "
                "'xlm-roberta', 'camembert' and 'distilbert'. Other architectures are not supported."
            )
        return config_dict, kwargs


def _check_field(name: str, value) -> None:
    """Refuses a value that the field cannot have with any values of the other fields."""
    valid = None
    if name in RANGES:
        least, most = RANGES[name]
        right_type = type(value) is int or (type(value) is float and type(least) is float)
        if not (right_type and least <= value <= most) and not (value is None and name in OPTIONAL):
            kind = "integers" if type(least) is int else "numbers"
            valid = f"{kind} from {least} to {most}" + (", and None" if name in OPTIONAL else "")
    elif name in CHOICES and (type(value) not in (str, bool) or value not in CHOICES[name]):
        valid = ", ".join(map(repr, CHOICES[name]))
    elif name == "task" and not (value is None or isinstance(value, str)):
        valid = 'names of tasks, for example "reranking", and None'
    elif name == "importance_windows" and not _are_indices(value, LARGEST):
        valid = "lists of integers from 0, for example [0, 4, 12, 36]"
    elif name == "budgets" and value is not None:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            valid = 'a dict by names, for example {"half": [...]}, and None'
        elif _selects_subnetwork(value.get(FULL, {})):
            raise ValueError(f'"{FULL}" always keeps all tokens and cannot be redefined: choose another budget name.')
    if valid is not None:
        raise ValueError(f"{name} is {value!r}; valid are {valid}.")


def _selects_subnetwork(entry) -> bool:
    """Whether the entry of a budget has more than measured values."""
    return not isinstance(entry, dict) or any(entry.get(field) is not None for field in SubNetwork.__dataclass_fields__)


def _check_new_names(budgets: dict | None, before: dict | None = None) -> None:
    """Refuses names of budgets that tables and command lines cannot show; files saved with such names still load."""
    for name in budgets or {}:
        if name not in (before or {}) and (name == "named" or not re.fullmatch(BUDGET_NAME, name)):
            raise ValueError(
                f"budgets has the name {name!r}; valid are at most 64 letters, digits, '_', '-' and '.', for example "
                '"half".'
            )


def _check_rows(name: str, values, rows: int, hint: str = "") -> None:
    """Refuses values that are not rows of an embedding with this many rows."""
    if 0 in values.shape:
        raise ValueError(f"{name} has the shape {tuple(values.shape)}; valid is (batch, length).")
    lowest, highest = values.min().item(), values.max().item()
    if type(highest) is not int:
        raise ValueError(f"{name} has values of type {values.dtype}; valid are integers from 0 to {rows - 1}.")
    if lowest < 0 or highest >= rows:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"{name} has the value {wrong}; this model's values go from 0 to {rows - 1}.{hint}")


def _are_indices(values, end: int) -> bool:
    """Whether this is a list of at least one integer from 0 up to but not including `end`."""
    return isinstance(values, list) and len(values) > 0 and all(type(value) is int and 0 <= value < end for value in values)
