# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Tokenizers as OpenVINO graphs, for OpenVINO GenAI and model servers."""

import logging
from pathlib import Path

import openvino
from openvino.exceptions import OVTypeError
from openvino_tokenizers import convert_tokenizer


logger = logging.getLogger(__name__)


def save_tokenizer_graph(tokenizer, folder: Path) -> None:
    """Writes `openvino_tokenizer.xml`, with which OpenVINO GenAI needs neither transformers nor PyTorch.

    A tokenizer that cannot be converted gets no file, and a warning is logged.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): tokenizer of the model.
        folder (`Path`): folder of the exported model.
    """
    try:
        graph = convert_tokenizer(tokenizer)
    except (OVTypeError, NotImplementedError) as error:
        logger.warning(f"The tokenizer has no graph for OpenVINO GenAI: {error}")
        return
    openvino.save_model(graph, folder / "openvino_tokenizer.xml")
