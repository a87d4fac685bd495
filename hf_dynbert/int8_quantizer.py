# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""int8 in `from_pretrained` and `save_pretrained`: a quantizer for transformers, registered on import."""

from torch import nn
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from transformers.utils.quantization_config import QuantizationConfigMixin

from .int8_layers import Int8Embedding, Int8Linear


# torchao's Int8DynamicActivationInt8WeightConfig(PerRow()), eager, takes 1.3 to 1.7 times as long on the released model, and
# its weights have 59 MB rather than 23. With torch.compile it takes 0.5 to 0.9 times as long, compiled for each batch size
# and budget; this int8 gains nothing from compiling. Batch 1 and 8, full and half, 160 tokens; Xeon with AMX, two threads,
# PyTorch 2.13, torchao 0.18: recipes/quala-minilm-squad/compare_torchao.py
METHOD = "dynamic_int8"
# Under 2 % of the operations; their outputs select the tokens and the answers
KEPT_EXACT = ("token_scorer", "qa_outputs", "classifier", "pooler")
INT8_CLASSES = {nn.Linear: Int8Linear, nn.Embedding: Int8Embedding}


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
            raise ValueError(f"DynamicInt8Config has no argument {', '.join(kwargs)}; valid is modules_to_not_convert.")
        self.quant_method = METHOD
        self.modules_to_not_convert = modules_to_not_convert


class DynamicInt8Quantizer(HfQuantizer):
    """Replaces layers by int8 layers: before int8 weights are loaded, or after floats are loaded."""

    def _process_model_before_weight_loading(self, model, **kwargs):
        if self.pre_quantized:
            self._replace(model, "like")

    def _process_model_after_weight_loading(self, model, **kwargs):
        if not self.pre_quantized:
            self._replace(model, "from_float")
        return model

    def _replace(self, model, constructor: str) -> None:
        given = self.quantization_config.modules_to_not_convert or []
        kept = self.get_modules_to_not_convert(model, [*KEPT_EXACT, *given])
        kept += self.get_modules_to_not_convert(model)  # tied weights
        for name, module in list(model.named_modules()):
            int8_class = INT8_CLASSES.get(type(module))
            if int8_class is not None and not any(part in name for part in kept):
                model.set_submodule(name, getattr(int8_class, constructor)(module))

    def is_serializable(self, **kwargs) -> bool:
        """The int8 weights are ordinary tensors."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Integers have no gradients."""
        return False


if METHOD not in AUTO_QUANTIZER_MAPPING:  # importlib.reload imports a module twice
    register_quantization_config(METHOD)(DynamicInt8Config)
    register_quantizer(METHOD)(DynamicInt8Quantizer)
