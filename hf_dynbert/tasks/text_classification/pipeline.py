# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""transformers' `"text-classification"` pipeline with budgets."""

from collections.abc import Mapping

from transformers import TextClassificationPipeline

from ...utils.errors import is_utf8
from ..pipelines import (
    LIMITS,
    TOKENIZING,
    Stream,
    budget_of_call,
    check_batching,
    check_count,
    check_options,
    own_tokenizer,
    rows_of,
)


# Options of the tokenizer's call that make sense for one text or pair
TOKENIZER_OPTIONS = (
    "add_special_tokens",
    "max_length",
    "pad_to_multiple_of",
    "padding",
    "padding_side",
    "return_attention_mask",
    "return_token_type_ids",
    "split_special_tokens",
    "truncation",
    "verbose",
)
USAGE = 'valid are a text and {"text": "...", "text_pair": "..."}, or several of them in a list.'
OPTIONS = ("budget", "length_config", *LIMITS, "top_k", "function_to_apply", *TOKENIZER_OPTIONS)
FUNCTIONS = ("default", "sigmoid", "softmax", "none")


class LengthAdaptiveTextClassificationPipeline(TextClassificationPipeline):
    """[`~transformers.TextClassificationPipeline`] with budgets, for length-adaptive models and for all others.

    Threads can share a pipeline. Importing hf_dynbert makes this the class of `pipeline("text-classification")`. Results
    are those of transformers' class; invalid options raise an error before they reach the tokenizer.

    Args:
        inputs (`str`, `dict` or several): a text, or a dict with `text` and `text_pair`; a list of these, or a data set or
            generator, which is read item by item.
        budget, length_config (*optional*): budget of a length-adaptive model, see [`DynamicTinyBertConfig`].
        max_latency_ms, max_macs, min_score, speedup, max_loss, tokens, nearest (*optional*): select a budget, see
            `model.choose_budget`.
        top_k (`int`, *optional*, defaults to 1): labels to return; `None` returns all.
        function_to_apply (`str`, *optional*): `"sigmoid"`, `"softmax"`, `"none"`, or `"default"`, the model's
            own.
        kwargs: options of the tokenizer, such as `truncation=True`.

    Returns:
        As transformers' class: `dict` with `label` and `score`, in a list. A data set or a generator gives an iterator.

    Raises:
        ValueError: inputs or options that are not valid, or a budget on a model without budgets.
        TypeError: an unknown option.

    Example:

    ```python
    >>> from transformers import pipeline
    >>> import hf_dynbert

    >>> classify = pipeline("text-classification", model="outputs/classifier")
    >>> classify("The ship lit the tower.", budget="half")
    ```
    """

    def __init__(self, model, tokenizer=None, batch_size=None, num_workers=None, **kwargs):
        name = model.config.name_or_path or type(model).__name__
        if type(model).__name__.endswith("ForQuestionAnswering"):
            raise ValueError(f'{name} answers questions; use pipeline("extractive-qa", model=...), or a text classifier.')
        if tokenizer is None:
            raise ValueError(
                'A pipeline needs a tokenizer: pipeline("text-classification", model=model, tokenizer=tokenizer).'
            )
        check_batching(batch_size, num_workers)
        tokenizer = own_tokenizer(tokenizer, name)
        super().__init__(model=model, tokenizer=tokenizer, batch_size=batch_size, num_workers=num_workers, **kwargs)

    def check_model_type(self, supported_models) -> None:
        """Skips transformers' list of supported classes for our models, which are not in it."""
        if not hasattr(self.model.config, "resolve_budget"):
            super().check_model_type(supported_models)

    def _sanitize_parameters(
        self,
        budget=None,
        length_config=None,
        top_k="",
        function_to_apply=None,
        **others,
    ):
        check_options(others, OPTIONS)
        limits = {name: value for name, value in others.items() if name in LIMITS}
        tokenizer_options = {name: value for name, value in others.items() if name not in LIMITS}
        if top_k != "":  # transformers' mark for "not given": `None` means all labels
            check_count("top_k", top_k)
        if isinstance(function_to_apply, str):
            if function_to_apply.lower() not in FUNCTIONS:
                raise ValueError(f"function_to_apply is {function_to_apply!r}; valid are {', '.join(map(repr, FUNCTIONS))}.")
            function_to_apply = None if function_to_apply.lower() == "default" else function_to_apply
        preprocess, _, postprocess = super()._sanitize_parameters(function_to_apply, top_k, **tokenizer_options)
        return preprocess, budget_of_call(self.model, budget, length_config, limits), postprocess

    def __call__(self, inputs, batch_size=None, num_workers=None, **options):
        """Classifies texts; see the class."""
        check_batching(batch_size, num_workers)
        inputs = rows_of(inputs)
        if isinstance(inputs, list | tuple):
            inputs = list(inputs)
            if not inputs:
                self._sanitize_parameters(**options)  # checks the options
                return []
        elif not isinstance(inputs, str | bytes | Mapping) and _is_collection(inputs):
            inputs = Stream(inputs, lambda item, index: item)
        return super().__call__(inputs, batch_size=batch_size, num_workers=num_workers, **options)

    def preprocess(self, inputs, **tokenizer_options):
        """Tokenizes one text or pair."""
        if isinstance(inputs, Mapping):
            check_options(inputs, ("text", "text_pair"))
        nested = isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], list)  # transformers' old pair
        texts = [inputs.get("text"), inputs.get("text_pair", "")] if isinstance(inputs, Mapping) else [inputs]
        if not nested and not all(is_utf8(text) for text in texts):
            raise ValueError(f"The text is {inputs!r:.100}; {USAGE}")
        with TOKENIZING:
            return super().preprocess(inputs, **tokenizer_options)

    def _forward(self, model_inputs, **call):
        return super()._forward({**model_inputs, **call})


def _is_collection(value) -> bool:
    return hasattr(value, "__iter__") or hasattr(value, "__getitem__")
