# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""int8 in PyTorch: folders that transformers' Auto classes load, see [`DynamicInt8Config`]."""

from ..int8_quantizer import DynamicInt8Config
from ..tasks.base import Task
from .accuracy_control import keep_sensitive_layers_in_fp32
from .arguments import QuantizeArguments


class PyTorchInt8:
    """The backend `pytorch`.

    Args:
        args ([`QuantizeArguments`]): options.
        task ([`Task`]): task of the model.
        inputs (`list[dict[str, list[int]]]`): calibration inputs; not used, as each token has its own range.
    """

    packages = ()

    def __init__(self, args: QuantizeArguments, task: Task, inputs: list[dict]):
        self.args, self.task, self.inputs = args, task, inputs

    def exact(self):
        """The checkpoint in fp32."""
        return self.task.auto_class.from_pretrained(self.args.model, dtype="float32", trust_remote_code=False)

    def tune(self, measure, reference: dict[str, float]):
        """See `keep_sensitive_layers_in_fp32`."""
        return keep_sensitive_layers_in_fp32(self.build, measure, reference, self.args.max_drop)

    def build(self, kept: list[str]):
        """The checkpoint in int8, except for the layers `kept`."""
        config = DynamicInt8Config(modules_to_not_convert=kept or None)
        return self.task.auto_class.from_pretrained(
            self.args.model, dtype="float32", quantization_config=config, trust_remote_code=False
        )
