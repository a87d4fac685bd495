# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A model for question answering, in whatever runtime it was saved for."""

from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering, PreTrainedConfig

from .configuration_dynamic_tinybert import DynamicTinyBertConfig


def load_any(model: str, threads: int | None = None, dtype: str = "float32"):
    """Loads a PyTorch checkpoint, or an OpenVINO folder.

    Args:
        model (`str`): folder or Hub id.
        threads (`int`, *optional*): of each call; all cores when not given.
        dtype (`str`, *optional*, defaults to `"float32"`): of the weights of a PyTorch checkpoint.

    Returns:
        A model of transformers, of Optimum-Intel's kind, or of ours.

    Raises:
        ValueError: another dtype for an OpenVINO folder, whose precision lies in the file.
    """
    if not _is_openvino(model):
        if threads:
            torch.set_num_threads(threads)
        return AutoModelForQuestionAnswering.from_pretrained(model, dtype=dtype).eval()
    if dtype != "float32":
        raise ValueError(f"{model} is an OpenVINO folder and computes as it was exported; leave dtype={dtype!r} out.")
    from . import OVDynamicTinyBertForQuestionAnswering  # see its reason there

    settings = {"INFERENCE_NUM_THREADS": threads} if threads else {}
    if _is_plain(model):
        from optimum.intel import OVModelForQuestionAnswering

        from .openvino.modeling_openvino import PRECISION

        return OVModelForQuestionAnswering.from_pretrained(model, ov_config=PRECISION | settings)
    return OVDynamicTinyBertForQuestionAnswering.from_pretrained(model, ov_config=settings)


def _is_plain(model: str) -> bool:
    """Whether an exported model is one of Optimum-Intel's own kind."""
    config = PreTrainedConfig.get_config_dict(model)[0]
    return "dynamic_model_type" not in config and config.get("model_type") != DynamicTinyBertConfig.model_type


def _is_openvino(model: str) -> bool:
    """Whether it was exported; a repository's configuration says so."""
    if Path(model).exists():
        return (Path(model) / "openvino_model.xml").exists()
    return "dynamic_model_type" in PreTrainedConfig.get_config_dict(model)[0]
