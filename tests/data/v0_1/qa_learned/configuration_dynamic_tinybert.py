# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Configuration of DynamicTinyBert: BERT's own, and what decides which tokens stay."""

import difflib
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import BertConfig

from .length_config import dropping_layers, validate_drops, validate_length_config


IMPORTANCES = ("all", "question", "cls", "learned")
DROPPED_LOGITS = ("restore", "mask")
FULL = "full"  # the name of the budget that drops nothing, on every model


@strict
class DynamicTinyBertConfig(BertConfig):
    r"""
    Configuration of [`DynamicTinyBertModel`]: a BERT encoder that drops tokens layer by layer and restores them at the
    end (Length-Adaptive Transformer, arXiv 2010.07003; Dynamic-TinyBERT, arXiv 2111.09645).

    Only what differs from [`~transformers.BertConfig`] is listed.

    Args:
        length_config (`list[int]` or `list[float]`, *optional*):
            Default length configuration: one entry a layer, never increasing. An integer is the most tokens of an example
            that leave the layer, a float in (0, 1] a share of the example's own real tokens, rounded up. `None` keeps all.
        budgets (`dict[str, list or dict]`, *optional*):
            Named length configurations; a call takes them by name. The name `"full"` is taken: it keeps all tokens. In place
            of the length configuration itself there may be a `dict` with it and what a search measured of it, see
            [`~hf_dynbert.budget.Budget`].
        drop_layers (`list[int]`, *optional*):
            The layers that may drop, from 0; `None` lets all. The others need no scorer, and are as fast as BERT's in an
            exported graph.
        importance (`str`, *optional*, defaults to `"all"`):
            What decides which tokens stay. `"all"`, `"question"`, `"cls"`: the attention a token receives from all real
            tokens (the papers' signal), from the first segment, or from CLS. `"learned"`: a trained scorer a layer.
        importance_match (`int`, *optional*, defaults to 64):
            Learned importance only. Dimensions in which the tokens around a token are matched with those of the first
            segment (the question); 0 leaves importance to the token's own state.
        importance_match_until (`int`, *optional*):
            Learned importance only. How many layers match. In the layers after these, where a token's own state knows by now
            what is asked, it alone decides. `None` matches to the end.
        importance_windows (`list[int]`, *optional*, defaults to `[0, 4, 12, 36]`):
            Learned importance only. How many tokens on each side are searched for matches, one entry a window.
        early_selection_until (`int`, *optional*, defaults to 0):
            Learned importance only. How many layers choose who stays by the states that enter them, before their attention:
            all tokens are still asked there, but only those that stay ask. Their answers are the same as if it were chosen
            after it, for less; what is chosen may differ. In the layers after these attention comes first.
        keep_cls (`bool`, *optional*, defaults to `True`):
            Whether the first token is never dropped.
        protect_first_segment (`bool`, *optional*, defaults to `False`):
            Whether the first segment (the question) is dropped only when everything else is gone.
        protect_first_segment_until (`int`, *optional*):
            With `protect_first_segment`: how many layers protect it. In the layers after these, where the second segment
            knows by now what is asked, the first one goes before all else (CLS stays). `None` protects it to the end.
        dropped_logits (`str`, *optional*, defaults to `"restore"`):
            Question answering only. `"restore"`: a dropped token answers with its last state, as in the papers.
            `"mask"`: a dropped token cannot be an answer.
        sep_token_id (`int`, *optional*, defaults to 102):
            Separator that ends the first segment where the tokenizer makes no token types.
        position_ids_start (`int`, *optional*, defaults to 0):
            First row of the position embeddings in use. Above 0, positions count the tokens that are not padding, as
            RoBERTa does from `pad_token_id + 1`.
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

    length_config: list[int | float] | None = None
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
    dropped_logits: str = "restore"
    sep_token_id: int | None = 102
    position_ids_start: int = 0
    pooler_act: str = "tanh"

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self._check_choices()
        self._check_budgets()

    @property
    def length_configs(self) -> dict[str, list[int | float]]:
        """The budgets' length configurations by name, without `"full"`."""
        found = {
            name: entry.get("length_config") if isinstance(entry, dict) else entry
            for name, entry in (self.budgets or {}).items()
        }
        return {name: length_config for name, length_config in found.items() if name != FULL}

    @property
    def named_budgets(self) -> list[str]:
        """`"full"`, and the budgets that have a name of their own: what is only a point of a searched front has none."""
        return [FULL, *(name for name in self.length_configs if name != FULL and not name.startswith("front-"))]

    def resolve_length_config(self, length_config: str | Sequence[int | float] | None = None) -> list[int | float] | None:
        """What a call's `length_config` argument means for this model.

        Args:
            length_config (`list`, `str` or `None`): a length configuration, a budget's name, `"full"`, or `None` for the
                model's default.

        Returns:
            `list` or `None`: a valid length configuration, or `None` where all tokens stay.

        Raises:
            ValueError: an unknown name or an impossible length configuration.
        """
        if length_config is None:
            length_config = self.length_config
        elif isinstance(length_config, str):
            if length_config == FULL:
                return None
            length_config = self._named_budget(length_config)
        if length_config is None:
            return None
        self._validate(length_config)
        return list(length_config)

    def _validate(self, length_config: Sequence[int | float]) -> None:
        validate_length_config(length_config, self.num_hidden_layers)
        validate_drops(length_config, dropping_layers(self), self.max_position_embeddings)

    def _check_choices(self) -> None:
        for option, value, valid in (
            ("importance", self.importance, IMPORTANCES),
            ("dropped_logits", self.dropped_logits, DROPPED_LOGITS),
        ):
            if value not in valid:
                raise ValueError(f"{option} is {value!r}; valid are {', '.join(map(repr, valid))}.")
        layers = self.drop_layers
        if layers is not None and (not layers or not set(layers) <= set(range(self.num_hidden_layers))):
            raise ValueError(
                f"drop_layers is {layers}; valid are lists of layers from 0 to {self.num_hidden_layers - 1}, for example "
                "[0, 3], and None for all of them."
            )
        if self.importance_match < 0:
            raise ValueError(f"importance_match is {self.importance_match}; valid are 0 and more.")
        for name in ("protect_first_segment_until", "importance_match_until"):
            layers = getattr(self, name)
            if layers is not None and layers < 0:
                raise ValueError(f"{name} is {layers}; valid are numbers of layers from 0 on, and None for all of them.")
        if self.early_selection_until < 0:
            raise ValueError(f"early_selection_until is {self.early_selection_until}; valid are numbers of layers from 0.")
        if not self.importance_windows or min(self.importance_windows) < 0:
            raise ValueError(
                f"importance_windows is {self.importance_windows}; valid are lists of numbers from 0 on, "
                "for example [0, 4, 12, 36]."
            )

    def _check_budgets(self) -> None:
        if self.length_config is not None:
            self._validate(self.length_config)
        full = (self.budgets or {}).get(FULL, {})
        if not isinstance(full, dict) or full.get("length_config") is not None:
            raise ValueError(f'"{FULL}" always keeps all tokens and cannot be redefined: choose another budget name.')
        for name, length_config in self.length_configs.items():
            try:
                self._validate(length_config)
            except ValueError as error:
                raise ValueError(f'budgets["{name}"]: {error}') from None

    def _named_budget(self, name: str) -> list[int | float]:
        budgets = self.length_configs
        if name in budgets:
            return budgets[name]
        known = [FULL, *budgets]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f' Did you mean "{close[0]}"?' if close else ""
        raise ValueError(
            f'This model has no budget "{name}"; it knows {", ".join(known)}.{hint} '
            f"Any list of {self.num_hidden_layers} entries works too: length_config=[...]."
        )

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs) -> tuple[dict, dict]:
        """Takes the configuration of a BERT checkpoint as it is, and refuses other architectures."""
        config_dict, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        model_type = config_dict.get("model_type", cls.model_type)
        if model_type == "bert":
            config_dict["model_type"] = cls.model_type
        elif model_type != cls.model_type:
            raise ValueError(
                f"{pretrained_model_name_or_path} is a {model_type!r} checkpoint. from_pretrained takes 'bert' and "
                f"'{cls.model_type}'; from_backbone({str(pretrained_model_name_or_path)!r}) takes 'bert', 'roberta' and "
                "'distilbert'. Other architectures are not supported."
            )
        return config_dict, kwargs
