# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Reads the configuration of a folder or Hub repository, in PyTorch or OpenVINO."""

from pathlib import Path

from transformers import PreTrainedConfig

from ..configuration_dynamic_tinybert import DynamicTinyBertConfig


def load_config(model_id: str | Path, **kwargs) -> DynamicTinyBertConfig:
    """Returns the configuration of an OpenVINO folder, or of a PyTorch checkpoint of this package.

    Args:
        model_id (`str` or `Path`): a folder or a Hub id.
        kwargs: the arguments of `from_pretrained` for the Hub. A `subfolder` without a config.json has that of the root.

    Raises:
        ValueError: the model is of another type.
        OSError: there is no config.json.
    """
    subfolder = kwargs.pop("subfolder", "")
    values = _read(model_id, subfolder=subfolder, **kwargs) if subfolder else {}
    values = values or PreTrainedConfig.get_config_dict(model_id, **kwargs)[0]  # our own class would take any 'bert'
    if not values:
        place = f"{model_id} (and its subfolder {subfolder})" if subfolder else model_id
        raise OSError(f"{place} has no config.json: saving it was not finished. Make or download the folder again.")
    model_type = values.pop("model_type", None)
    model_type = values.pop("dynamic_model_type", model_type)
    if model_type != DynamicTinyBertConfig.model_type:
        raise ValueError(
            f"{model_id} holds a model of type {model_type!r}, not {DynamicTinyBertConfig.model_type!r}. Load it with "
            "Optimum-Intel's own class, or make it length-adaptive first: "
            "DynamicTinyBertForQuestionAnswering.from_backbone(checkpoint)."
        )
    # With its model type, a file of v0.1 gets the values that v0.1 had in place of fields that are newer
    return DynamicTinyBertConfig.from_dict(values | {"model_type": model_type})


def _read(model_id: str | Path, subfolder: str, **kwargs) -> dict:
    """The values of the config.json in a subfolder; empty if it has none."""
    if Path(model_id).is_dir() and not (Path(model_id) / subfolder / "config.json").is_file():
        return {}
    try:
        return PreTrainedConfig.get_config_dict(model_id, subfolder=subfolder, **kwargs)[0]
    except OSError:
        return {}
