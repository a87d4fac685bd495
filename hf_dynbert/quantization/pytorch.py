# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""int8 in PyTorch: a folder that the Auto classes of transformers load, see [`DynamicInt8Config`]."""

import transformers

from ..int8_quantizer import DynamicInt8Config
from ..tasks import Task, task_of
from ..utils.folder_config import load_config
from .accuracy_control import protect
from .arguments import QuantizeArguments


def model_class_of(config):
    """The Auto class of a checkpoint's head, so that quantization keeps the head."""
    return getattr(transformers, f"AutoModel{task_of(config).head}")


class PyTorchInt8:
    """The backend `pytorch`.

    Args:
        args ([`QuantizeArguments`]): how.
        task ([`Task`]): task of the model.
        calls (`list`): calls of `calibration_calls`; not used, since each token has its own range.
    """

    packages = ()

    def __init__(self, args: QuantizeArguments, task: Task, calls: list):
        self.args, self.calls = args, calls
        self.model_class = model_class_of(load_config(args.model))

    def exact(self):
        """The checkpoint in fp32."""
        return self.model_class.from_pretrained(self.args.model, dtype="float32", trust_remote_code=False)

    def tune(self, measure, reference: dict[str, float]):
        """See `protect`."""
        return protect(self.build, measure, reference, self.args.max_f1_drop)

    def build(self, kept: list[str]):
        """The checkpoint in int8, except the layers in `kept`."""
        config = DynamicInt8Config(modules_to_not_convert=kept or None)
        return self.model_class.from_pretrained(
            self.args.model, dtype="float32", quantization_config=config, trust_remote_code=False
        )
