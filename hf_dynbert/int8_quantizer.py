# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""int8 in `from_pretrained` and `save_pretrained`: a quantizer for transformers, registered on import."""

from torch import nn
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from transformers.utils.quantization_config import QuantizationConfigMixin

from .int8_layers import Int8Embedding, Int8Linear


# torchao's Int8DynamicActivationInt8WeightConfig(PerRow()), eager, takes 1.1 to 5.4 times as long on the released model
# (batch 1 and 8, full and half; a busy Xeon with AMX, PyTorch 2.13, torchao 0.18), and its file has 59 MB rather than 23:
# recipes/quala-minilm-squad/compare_torchao.py
METHOD = "dynamic_int8"
# Under 2 % of the operations, and what they say decides which token stays or answers
KEPT_EXACT = ("token_scorer", "qa_outputs", "classifier", "pooler")


class DynamicInt8Config(QuantizationConfigMixin):
    """int8 weights, and activations rounded to int8 token by token, for CPUs.

    Args:
        modules_to_not_convert (`list[str]`, *optional*): parts of modules' names that stay in floats, besides
            `token_scorer`, `qa_outputs`, `classifier` and `pooler`, and tied weights.

    Example:

    ```python
    >>> model = AutoModelForQuestionAnswering.from_pretrained(checkpoint, quantization_config=DynamicInt8Config())
    >>> model.save_pretrained("outputs/int8")
    >>> model = AutoModelForQuestionAnswering.from_pretrained("outputs/int8")
    ```
    """

    def __init__(self, modules_to_not_convert: list[str] | None = None, **kwargs):
        kwargs.pop("quant_method", None)
        if kwargs:
            raise ValueError(f"DynamicInt8Config does not know {', '.join(kwargs)}; it takes modules_to_not_convert.")
        self.quant_method = METHOD
        self.modules_to_not_convert = modules_to_not_convert


class DynamicInt8Quantizer(HfQuantizer):
    """Puts int8 layers in a model's place, before its int8 weights are read, or after its floats are."""

    def _process_model_before_weight_loading(self, model, **kwargs):
        if self.pre_quantized:
            self._replace(model, lambda layer: _empty(layer))

    def _process_model_after_weight_loading(self, model, **kwargs):
        if not self.pre_quantized:
            self._replace(model, lambda layer: _int8_class(layer).from_float(layer))
        return model

    def _replace(self, model, make) -> None:
        kept = self.get_modules_to_not_convert(
            model, [*KEPT_EXACT, *(self.quantization_config.modules_to_not_convert or [])]
        )
        kept += self.get_modules_to_not_convert(model)  # tied weights
        for name, module in list(model.named_modules()):
            if _int8_class(module) and not any(part in name for part in kept):
                model.set_submodule(name, make(module))

    def is_serializable(self, **kwargs) -> bool:
        """The int8 weights are ordinary tensors."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Integers have no gradients."""
        return False


def _int8_class(layer: nn.Module):
    return {nn.Linear: Int8Linear, nn.Embedding: Int8Embedding}.get(type(layer))


def _empty(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return Int8Linear(layer.in_features, layer.out_features, layer.bias is not None)
    return Int8Embedding(layer.num_embeddings, layer.embedding_dim)


if METHOD not in AUTO_QUANTIZER_MAPPING:  # a module may be imported twice, by importlib.reload
    register_quantization_config(METHOD)(DynamicInt8Config)
    register_quantizer(METHOD)(DynamicInt8Quantizer)
