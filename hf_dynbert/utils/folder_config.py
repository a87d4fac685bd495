# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""What a folder holds, in PyTorch or OpenVINO."""

from pathlib import Path

from transformers import PreTrainedConfig

from ..configuration_dynamic_tinybert import DynamicTinyBertConfig


def load_config(model_id: str | Path, **kwargs) -> DynamicTinyBertConfig:
    """Reads the configuration of an OpenVINO folder, or of a PyTorch checkpoint of this package.

    Args:
        model_id (`str` or `Path`): a folder or a Hub id.
        kwargs: what `from_pretrained` takes for the Hub.

    Raises:
        ValueError: it is another model's.
        OSError: there is none.
    """
    values, _ = PreTrainedConfig.get_config_dict(model_id, **kwargs)  # as written: ours takes any 'bert'
    if not values:
        raise OSError(f"{model_id} has no config.json: what made it has not finished. Make or download it again.")
    model_type = values.pop("model_type", None)
    model_type = values.pop("dynamic_model_type", model_type)
    if model_type != DynamicTinyBertConfig.model_type:
        raise ValueError(
            f"{model_id} holds a model of type {model_type!r}, not {DynamicTinyBertConfig.model_type!r}. Load it with "
            "Optimum-Intel's own class, or make it length-adaptive first: "
            "DynamicTinyBertForQuestionAnswering.from_backbone(checkpoint)."
        )
    return DynamicTinyBertConfig.from_dict(values)
