# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""int8 in PyTorch: a folder that `AutoModelForQuestionAnswering.from_pretrained` loads, see [`DynamicInt8Config`]."""

import torch
from datasets import Dataset
from transformers import AutoModelForQuestionAnswering

from ..int8_layers import calibrate
from ..int8_quantizer import DynamicInt8Config
from .accuracy_control import protect
from .arguments import QuantizeArguments
from .calibration import calibration_calls
from .checkpoints import load_config


class PyTorchInt8:
    """The backend `pytorch`.

    Args:
        args ([`QuantizeArguments`]): how.
        tokenizer (`PreTrainedTokenizerFast`): of the model.
        data (`datasets.Dataset`): questions to calibrate with.
    """

    packages = ()

    def __init__(self, args: QuantizeArguments, tokenizer, data: Dataset):
        self.args, self.tokenizer, self.data = args, tokenizer, data

    def exact(self):
        """The checkpoint in fp32."""
        return AutoModelForQuestionAnswering.from_pretrained(self.args.model, dtype="float32")

    def tune(self, measure, reference: dict[str, float]):
        """See `protect`."""
        return protect(self.build, measure, reference, self.args.max_f1_drop)

    def build(self, kept: list[str]):
        """The checkpoint in int8, all but the layers kept exact."""
        model = self.int8_model(kept).eval()
        calibrate(model, (eager_input(*call) for call in self.calls()))
        return model

    def int8_model(self, kept: list[str]):
        """The same, not calibrated."""
        config = DynamicInt8Config(modules_to_not_convert=kept or None)
        return AutoModelForQuestionAnswering.from_pretrained(self.args.model, dtype="float32", quantization_config=config)

    def calls(self) -> list:
        """See `calibration_calls`."""
        args = self.args
        return calibration_calls(
            load_config(args.model), self.tokenizer, self.data, args.calibration_samples,
            args.max_length, args.stride, args.seed,
        )  # fmt: skip


def eager_input(features: dict[str, list[int]], length_config: list) -> dict:
    """Arguments of one call of the PyTorch model."""
    return {name: torch.tensor([ids]) for name, ids in features.items()} | {"length_config": length_config}
