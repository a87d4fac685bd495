# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Length-adaptive BERT for the Hugging Face Hub. Importing this package registers it with transformers."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
)

from .configuration_dynamic_tinybert import DynamicTinyBertConfig
from .length_config import count_macs
from .modeling_dynamic_tinybert import (
    DynamicTinyBertForQuestionAnswering,
    DynamicTinyBertForSequenceClassification,
    DynamicTinyBertModel,
)


__all__ = []

AutoConfig.register(DynamicTinyBertConfig.model_type, DynamicTinyBertConfig, exist_ok=True)
AutoModel.register(DynamicTinyBertConfig, DynamicTinyBertModel, exist_ok=True)
AutoModelForQuestionAnswering.register(DynamicTinyBertConfig, DynamicTinyBertForQuestionAnswering, exist_ok=True)
AutoModelForSequenceClassification.register(
    DynamicTinyBertConfig, DynamicTinyBertForSequenceClassification, exist_ok=True
)
