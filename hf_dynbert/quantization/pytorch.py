# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""int8 in PyTorch: a folder that `AutoModelForQuestionAnswering.from_pretrained` loads, see [`DynamicInt8Config`]."""

from datasets import Dataset
from transformers import AutoModelForQuestionAnswering

from ..int8_quantizer import DynamicInt8Config
from .accuracy_control import protect
from .arguments import QuantizeArguments


class PyTorchInt8:
    """The backend `pytorch`.

    Args:
        args ([`QuantizeArguments`]): how.
        tokenizer (`PreTrainedTokenizerFast`): of the model.
        data (`datasets.Dataset`): questions; not needed, as each token has its own range.
    """

    packages = ()

    def __init__(self, args: QuantizeArguments, tokenizer, data: Dataset):
        self.args = args

    def exact(self):
        """The checkpoint in fp32."""
        return AutoModelForQuestionAnswering.from_pretrained(self.args.model, dtype="float32")

    def tune(self, measure, reference: dict[str, float]):
        """See `protect`."""
        return protect(self.build, measure, reference, self.args.max_f1_drop)

    def build(self, kept: list[str]):
        """The checkpoint in int8, all but the layers kept exact."""
        config = DynamicInt8Config(modules_to_not_convert=kept or None)
        return AutoModelForQuestionAnswering.from_pretrained(self.args.model, dtype="float32", quantization_config=config)
