# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A graph for each budget, for libraries that choose a file but have no argument for a budget."""

import json
from collections.abc import Sequence
from pathlib import Path

import openvino

from ..budgets.model_budgets import named_budgets
from ..hub.records import budget_file
from ..loading import OPENVINO_FILE
from ..utils.atomic_files import replace_files
from ..utils.folder_config import load_config
from .export import fix_length_config, has_length_config_state


def export_budgets(folder: str | Path, budgets: Sequence[str] | None = None) -> list[Path]:
    """Writes a graph for each budget beside the graph that runs any budget.

    The files need no package of ours: `CrossEncoder(folder, backend="openvino", model_kwargs={"file_name": file.name})` of
    sentence-transformers, or any class of Optimum-Intel. Each file has its own copy of the weights. A later search removes
    the files, since it changes budgets.

    Args:
        folder (`str` or `Path`): OpenVINO folder with a length-adaptive model.
        budgets (`list[str]`, *optional*): names of its budgets; all by default.

    Returns:
        `list[Path]`: the files, `openvino_model_{budget}.xml`.

    Raises:
        ValueError: no OpenVINO model for any budget in the folder, or an unknown budget.

    Example:

    ```python
    >>> from hf_dynbert.openvino.budget_files import export_budgets

    >>> export_budgets("outputs/reranker-int8", ["half"])
    ```
    """
    folder = Path(folder)
    if not (folder / OPENVINO_FILE).is_file():
        raise ValueError(f"{folder} has no {OPENVINO_FILE}. Make one first: hf-dynbert quantize --model {folder} ...")
    config, core = load_config(folder), openvino.Core()
    names = named_budgets(config) if budgets is None else list(budgets)
    entries = {name: config.resolve_budget(name).encode(config) for name in names}  # or an error, before any file
    if not has_length_config_state(core.read_model(folder / OPENVINO_FILE)):
        raise ValueError(f"The graph in {folder} has a fixed length configuration; export the model again to run budgets.")
    with replace_files(folder) as beside:
        for name in names:
            graph = fix_length_config(core.read_model(folder / OPENVINO_FILE), entries[name])
            graph.set_rt_info(json.dumps(entries[name]), ["hf_dynbert", "length_config"])
            openvino.save_model(graph, beside / budget_file(name), compress_to_fp16=False)
    return [folder / budget_file(name) for name in names]
