# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Configuration of DynamicTinyBert: BERT's fields, and those that decide which tokens stay."""

import copy
import math
import re
from collections.abc import Sequence
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassFieldValidationError
from transformers import BertConfig
from transformers.activations import ACT2FN

from .importance import IMPORTANCES
from .subnetwork import FULL, MAX_COUNT, SubNetwork


# Never executed: transformers reads here which files it must load beside this file where the package is not installed
if TYPE_CHECKING:
    from .drop_and_restore import TokenState  # noqa: F401


DROPPED_LOGITS = ("restore", "mask")
# Short inputs lose time by dropping. Measured in OpenVINO int8, ms at full length and at a budget that loses little:
# question answering, two layers drop: 48 tokens 2.8 and 3.5, 64 tokens 3.8 and 4.2, 128 tokens 7.0 and 7.0;
# a classifier, all layers drop: 96 tokens 4.3 and 5.3, 128 tokens 5.3 and 6.0, 192 tokens 8.8 and 7.7.
# `hf-dynbert search` measures a model's own value.
MIN_TOKENS_TO_DROP = 128
BUDGET_NAME = r"[\w.-]{1,64}"  # names reach model cards, tables and command lines as they are
LARGEST = 2**31 - 1  # sizes of tensors and indices fit 32 bits in exported graphs
# Numeric fields: type, smallest and largest value, and whether `None` is valid
NUMBERS = {
    "vocab_size": (int, 1, LARGEST, False),
    "hidden_size": (int, 1, LARGEST, False),
    "num_hidden_layers": (int, 1, LARGEST, False),
    "num_attention_heads": (int, 1, LARGEST, False),
    "intermediate_size": (int, 1, LARGEST, False),
    "max_position_embeddings": (int, 1, LARGEST, False),
    "type_vocab_size": (int, 1, LARGEST, False),
    "hidden_dropout_prob": (float, 0, 1, False),
    "attention_probs_dropout_prob": (float, 0, 1, False),
    "classifier_dropout": (float, 0, 1, True),
    "initializer_range": (float, 0, math.inf, False),
    "layer_norm_eps": (float, 0, math.inf, False),
    "importance_match": (int, 0, LARGEST, False),
    "importance_match_until": (int, 0, LARGEST, True),
    "early_selection_until": (int, 0, LARGEST, False),
    "protect_first_segment_until": (int, 0, LARGEST, True),
    "min_tokens_to_drop": (int, 0, MAX_COUNT, False),
    "sep_token_id": (int, 0, LARGEST, True),
    "position_ids_start": (int, 0, LARGEST, False),
}
ACTIVATIONS = tuple(ACT2FN)
CHOICES = {
    "importance": IMPORTANCES,
    "dropped_logits": DROPPED_LOGITS,
    "hidden_act": ACTIVATIONS,
    "pooler_act": ACTIVATIONS,
}
CHECKED = (*NUMBERS, *CHOICES, "drop_layers", "importance_windows", "budgets", "length_config")


def refuse_impossible_values(config_class):
    """Class decorator: an assignment that would leave an impossible configuration changes nothing and raises `ValueError`.

    Checks in `__post_init__` alone would miss the overrides of `from_pretrained`, which transformers assigns after it.
    """
    assign = config_class.__setattr__

    def __setattr__(self, name, value):
        before = dict(self.__dict__)
        try:
            assign(self, name, value)
            if name in CHECKED:
                self.check()
        except (StrictDataclassFieldValidationError, ValueError) as error:
            self.__dict__.clear()
            self.__dict__.update(before)
            if isinstance(error, ValueError):
                raise
            raise ValueError(f"{name} is {value!r}: {error.__cause__}") from error

    config_class.__setattr__ = __setattr__
    return config_class


@refuse_impossible_values
@strict
class DynamicTinyBertConfig(BertConfig):
    r"""
    Configuration of [`DynamicTinyBertModel`]: a BERT encoder that drops tokens layer by layer and restores them at the
    end (Length-Adaptive Transformer, arXiv 2010.07003; Dynamic-TinyBERT, arXiv 2111.09645).

    This list has only the fields that [`~transformers.BertConfig`] does not have.

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
        importance_match (`int`, *optional*, defaults to 64):
            Learned importance only. Dimensions in which the tokens around a token are matched with those of the first
            segment (the question); 0 leaves importance to the token's own state.
        importance_match_until (`int`, *optional*):
            Learned importance only. Number of leading layers that match. In later layers the state of a token carries enough
            of the question, and the linear unit alone decides. `None` matches in all layers.
        importance_windows (`list[int]`, *optional*, defaults to `[0, 4, 12, 36]`):
            Learned importance only. Number of tokens on each side in which a term is matched, one entry for each window.
        early_selection_until (`int`, *optional*, defaults to 0):
            Learned importance only. Number of leading layers that select tokens before self-attention. Dropped tokens still
            serve as keys and values, but not as queries. Outputs of the kept tokens are unchanged; the selection itself may
            differ. Later layers select tokens after self-attention.
        keep_cls (`bool`, *optional*, defaults to `True`):
            Whether the first token is never dropped.
        protect_first_segment (`bool`, *optional*, defaults to `False`):
            Whether the first segment (the question) is dropped only after all other tokens.
        protect_first_segment_until (`int`, *optional*):
            With `protect_first_segment`: number of leading layers that protect the first segment. In later layers the second
            segment carries enough of the question, and the first segment is dropped before all other tokens (CLS stays).
            `None` protects the first segment in all layers.
        min_tokens_to_drop (`int`, *optional*):
            An example with fewer real tokens keeps all of them at every budget, since dropping costs time there. 0 drops in
            inputs of every length, as do configuration files that were saved without this field.
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

    Example:

    ```python
    >>> from hf_dynbert import DynamicTinyBertConfig, DynamicTinyBertForQuestionAnswering

    >>> config = DynamicTinyBertConfig(num_hidden_layers=6, budgets={"fast": [1.0, 0.6, 0.5, 0.3, 0.3, 0.3]})
    >>> model = DynamicTinyBertForQuestionAnswering(config)
    ```
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

    def __post_init__(self, **kwargs):
        if self.min_tokens_to_drop is None:
            saved = kwargs.get("model_type") == self.model_type  # a file of an earlier release, which dropped at any length
            self.min_tokens_to_drop = 0 if saved else MIN_TOKENS_TO_DROP
        super().__post_init__(**kwargs)
        self.check()

    def check(self) -> None:
        """Refuses impossible values. A configuration that is still being made, without all of its fields, passes.

        Raises:
            ValueError: a value that no model can have; the error shows the valid ones.
        """
        if not all(name in self.__dict__ for name in CHECKED):
            return
        for name, (number_type, smallest, largest, optional) in NUMBERS.items():
            value = getattr(self, name)
            if value is None and (optional or name == "min_tokens_to_drop"):  # the latter is set in `__post_init__`
                continue
            right_type = type(value) is int or (number_type is float and type(value) is float)
            if not right_type or not smallest <= value <= largest or value == math.inf:
                kind = "integers" if number_type is int else "numbers"
                limits = f"from {smallest}" + ("" if largest in (LARGEST, math.inf) else f" to {largest}")
                none = ", and None" if optional else ""
                raise ValueError(f"{name} is {value!r}; valid are {kind} {limits}{none}.")
        for name, valid in CHOICES.items():
            value = getattr(self, name)
            if value not in valid:
                raise ValueError(f"{name} is {value!r}; valid are {', '.join(map(repr, valid))}.")
        self._check_lists()
        self._check_budgets()

    def update(self, config_dict: dict[str, Any]) -> None:
        """Sets several fields at once: only the values together have to be possible."""
        changed = copy.copy(self)
        checked = {name: value for name, value in config_dict.items() if name in CHECKED}
        changed.__dict__.update(checked)
        changed.check()
        before = dict(self.__dict__)
        self.__dict__.update(checked)
        try:
            super().update(config_dict)
        except Exception:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs):
        """Makes a configuration of a dictionary, with overrides that replace its fields before anything is checked."""
        names = {field.name for field in fields(cls)}
        overrides = {name: value for name, value in kwargs.items() if name in names}
        return super().from_dict({**config_dict, **overrides}, **kwargs)

    def save_pretrained(self, save_directory, *args, **kwargs):
        """Writes the configuration, unless a dictionary or list in it was changed to something impossible."""
        self.check()
        return super().save_pretrained(save_directory, *args, **kwargs)

    @property
    def max_tokens(self) -> int:
        """The most tokens of a text that the model reads: the rows of its position embeddings that count tokens."""
        return self.max_position_embeddings - self.position_ids_start

    def check_inputs(
        self, input_ids=None, token_type_ids=None, position_ids=None, inputs_embeds=None, check_values: bool = True
    ) -> None:
        """Refuses inputs that index an embedding outside its rows: OpenVINO answers such inputs without an error.

        Args:
            input_ids, token_type_ids, position_ids (arrays or tensors of shape `(batch, L)`, *optional*): of a call.
            inputs_embeds (array or tensor of shape `(batch, L, hidden_size)`, *optional*): in place of `input_ids`.
            check_values (`bool`, *optional*, defaults to `True`): whether to read the values. Reading them makes Python wait
                for an accelerator.

        Raises:
            ValueError: no text, no token, more tokens than positions, or a value outside of its embedding.
        """
        name, texts, axes = "input_ids", input_ids, 2
        if input_ids is None:
            name, texts, axes = "inputs_embeds", inputs_embeds, 3
        shape = tuple(texts.shape)
        if len(shape) != axes or 0 in shape:
            valid = "(batch, length)" if axes == 2 else "(batch, length, hidden_size)"
            raise ValueError(
                f"{name} has the shape {shape}; valid is {valid} with at least one text of one token, as in "
                'model(**tokenizer(question, context, return_tensors="pt")).'
            )
        if position_ids is None and shape[1] > self.max_tokens:
            tokens = self._longest_text(input_ids, shape[1])
            if tokens > self.max_tokens:
                raise ValueError(
                    f"{tokens} tokens; this model reads {self.max_tokens}. Cut the text with "
                    f"tokenizer(..., truncation=True, max_length={self.max_tokens}), or into several windows."
                )
        if not check_values:
            return
        if input_ids is not None:
            _check_rows("input_ids", input_ids, self.vocab_size, "After adding tokens to a tokenizer, resize the model.")
        if token_type_ids is not None:
            hint = "Call the tokenizer with return_token_type_ids=False." if self.type_vocab_size < 2 else ""
            _check_rows("token_type_ids", token_type_ids, self.type_vocab_size, hint)
        if position_ids is not None:
            _check_rows("position_ids", position_ids, self.max_position_embeddings, "")

    def _longest_text(self, input_ids, length: int) -> int:
        """Tokens that take a position, in the longest text of a batch: where positions are counted, padding takes none."""
        if self.position_ids_start == 0 or input_ids is None:
            return length
        return int((input_ids != self.pad_token_id).sum(1).max())

    @property
    def early_layers(self) -> range:
        """Indices of the layers that select tokens before their attention, see `early_selection_until`."""
        return range(self.early_selection_until if IMPORTANCES[self.importance].may_select_early else 0)

    @property
    def length_configs(self) -> dict[str, list[int | float]]:
        """The length configurations of the budgets by name, without `"full"` and without budgets that leave layers out."""
        budgets = {name: self.resolve_budget(name) for name in self.budgets or {}}
        return {
            name: list(budget.length_config)
            for name, budget in budgets.items()
            if budget.length_config is not None and budget.layers is None
        }

    @property
    def named_budgets(self) -> list[str]:
        """`"full"`, and the budgets that have a name of their own: what is only a point of a searched front has none."""
        return [FULL, *(name for name in self.budgets or {} if name != FULL and not self._is_point_of_front(name))]

    def _is_point_of_front(self, name: str) -> bool:
        """Whether a search saved the entry as a point of its front, without a name of its own."""
        entry = self.budgets[name]
        if not isinstance(entry, dict) or all(key in SubNetwork.__dataclass_fields__ for key in entry):
            return False
        # Searches of version 0.1 wrote no field for it
        return entry.get("point", re.fullmatch(r"front-\d+", name) is not None)

    def resolve_budget(self, budget=None) -> SubNetwork:
        """The sub-network that a value of the `budget=` argument selects.

        Args:
            budget (`str`, `list`, `dict`, `SubNetwork` or `None`): the name of a budget, a length configuration, a `dict` of
                the fields of [`~hf_dynbert.subnetwork.SubNetwork`], a sub-network, or `None` for the model's default.

        Returns:
            `SubNetwork`: valid for this model.

        Raises:
            ValueError: an unknown name or an impossible value.
        """
        return SubNetwork.parse(self, budget)

    def resolve_length_config(self, length_config: str | Sequence[int | float] | None = None) -> list[int | float] | None:
        """The length configuration that a budget without left-out layers selects, see `resolve_budget`.

        Args:
            length_config (`list`, `str` or `None`): a length configuration, a budget's name, `"full"`, or `None` for the
                model's default.

        Returns:
            `list` or `None`: a valid length configuration, or `None` where all tokens stay.

        Raises:
            ValueError: an unknown name, an impossible length configuration, or a budget that leaves layers out.
        """
        subnetwork = self.resolve_budget(length_config)
        if subnetwork.layers is not None:
            raise ValueError(
                f"{length_config!r} runs layers {list(subnetwork.layers)} only, which a length configuration cannot say. "
                f"budget={length_config!r} takes it."
            )
        return None if subnetwork.length_config is None else list(subnetwork.length_config)

    def _check_lists(self) -> None:
        layers = self.drop_layers
        if layers is not None and not _are_indices(layers, self.num_hidden_layers):
            raise ValueError(
                f"drop_layers is {layers!r}; valid are lists of layers from 0 to {self.num_hidden_layers - 1}, for example "
                "[0], and None for all layers."
            )
        windows = self.importance_windows
        if not _are_indices(windows, MAX_COUNT):
            raise ValueError(
                f"importance_windows is {windows!r}; valid are lists of integers from 0, for example [0, 4, 12, 36]."
            )

    def _check_budgets(self) -> None:
        if self.budgets is not None and not isinstance(self.budgets, dict):
            raise ValueError(f'budgets is {self.budgets!r}; valid is a dict, for example {{"half": [...]}}, and None.')
        full = (self.budgets or {}).get(FULL, {})
        if not isinstance(full, dict) or any(full.get(field.name) is not None for field in fields(SubNetwork)):
            raise ValueError(f'"{FULL}" always keeps all tokens and cannot be redefined: choose another budget name.')
        for name in self.budgets or {}:
            if not isinstance(name, str) or not re.fullmatch(BUDGET_NAME, name):
                raise ValueError(
                    f"budgets has the name {name!r}; valid are at most 64 letters, digits, '_', '-' and '.', for example "
                    '"half".'
                )
            try:
                self.resolve_budget(name)
            except ValueError as error:
                raise ValueError(f'budgets["{name}"]: {error}') from None
        try:
            self.resolve_budget()
        except ValueError as error:
            raise ValueError(f"The default length_config is impossible: {error}") from None

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs) -> tuple[dict, dict]:
        """Takes the configuration of a BERT checkpoint as it is, and refuses other architectures."""
        config_dict, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        model_type = config_dict.get("model_type", cls.model_type)
        if model_type == "bert" and "dynamic_model_type" not in config_dict:
            config_dict["model_type"] = cls.model_type
            config_dict.setdefault("min_tokens_to_drop", MIN_TOKENS_TO_DROP)  # a model that no release of this package saved
        elif model_type == "bert":
            config_dict["model_type"] = config_dict.pop("dynamic_model_type")
        elif model_type != cls.model_type:
            raise ValueError(
                f"{pretrained_model_name_or_path} is a {model_type!r} checkpoint. from_pretrained takes 'bert' and "
                f"'{cls.model_type}'; from_backbone({str(pretrained_model_name_or_path)!r}) takes 'bert', 'roberta', "
                "'xlm-roberta', 'camembert' and 'distilbert'. Other architectures are not supported."
            )
        return config_dict, kwargs


def _check_rows(name: str, values, rows: int, hint: str) -> None:
    """Refuses values that are no row of an embedding with so many rows."""
    if 0 in values.shape:
        raise ValueError(f"{name} has the shape {tuple(values.shape)}; valid is (batch, length).")
    lowest, highest = values.min().item(), values.max().item()
    if isinstance(highest, float):
        raise ValueError(f"{name} has values of type {values.dtype}; valid are integers from 0 to {rows - 1}.")
    if lowest < 0 or highest >= rows:
        wrong = lowest if lowest < 0 else highest
        raise ValueError(f"{name} has the value {wrong}; this model's values go from 0 to {rows - 1}. {hint}".rstrip())


def _are_indices(values, end: int) -> bool:
    """Whether this is a list of at least one integer from 0 up to but not including `end`."""
    return isinstance(values, list) and len(values) > 0 and all(type(value) is int and 0 <= value < end for value in values)
