# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A model for question answering, in whatever runtime it was saved for."""

from pathlib import Path

import torch
from transformers import AutoModelForQuestionAnswering


def load_any(model: str, threads: int | None = None):
    """Loads a PyTorch checkpoint, or an OpenVINO folder.

    Args:
        model (`str`): folder, or for PyTorch a Hub id.
        threads (`int`, *optional*): of each call; all cores when not given.

    Returns:
        A model of transformers, of Optimum-Intel's kind, or of ours.
    """
    if not (Path(model) / "openvino_model.xml").exists():
        if threads:
            torch.set_num_threads(threads)
        return AutoModelForQuestionAnswering.from_pretrained(model, dtype="float32").eval()
    from . import OVDynamicTinyBertForQuestionAnswering  # see its reason there

    settings = {"ov_config": {"INFERENCE_NUM_THREADS": threads}} if threads else {}
    return OVDynamicTinyBertForQuestionAnswering.from_pretrained(model, **settings)
