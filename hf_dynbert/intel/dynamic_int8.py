# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""int8 in PyTorch: a folder that `AutoModelForQuestionAnswering.from_pretrained` loads, see [`DynamicInt8Config`]."""

from transformers import AutoModelForQuestionAnswering

from ..int8_quantizer import DynamicInt8Config
from .arguments import QuantizeArguments


class DynamicInt8:
    """The backend `pytorch`. It needs no calibration: activations are rounded by what they are.

    Args:
        args ([`QuantizeArguments`]): how.
        tokenizer, data: not used.
    """

    packages = ()

    def __init__(self, args: QuantizeArguments, tokenizer, data):
        self.args = args

    def exact(self):
        """The checkpoint in fp32."""
        return AutoModelForQuestionAnswering.from_pretrained(self.args.model, dtype="float32")

    def build(self, kept: list[str]):
        """The checkpoint in int8, all but the layers kept exact."""
        config = DynamicInt8Config(modules_to_not_convert=kept or None)
        return AutoModelForQuestionAnswering.from_pretrained(self.args.model, dtype="float32", quantization_config=config)
