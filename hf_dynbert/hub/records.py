# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The records in a model folder: training, quantization, evaluation, and where the weights come from."""

from collections.abc import Iterable
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from ..utils.errors import InputError
from ..utils.model_folders import read_json


TRAINING, QUANTIZATION, EVALUATION = "training.json", "quantization.json", "evaluation.json"
OPENVINO_FILES = ("openvino_model.xml", "openvino_model.bin", "openvino_config.json")
TOKENIZER_GRAPH = ("openvino_tokenizer.xml", "openvino_tokenizer.bin")
# Files that describe one model. In the folder of another model they are wrong
RECORDS = (TRAINING, QUANTIZATION, EVALUATION, "front.png")
CROSS_ENCODER_FILES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")
OF_A_MODEL = (*RECORDS, *CROSS_ENCODER_FILES, *TOKENIZER_GRAPH, "model.safetensors", *OPENVINO_FILES)


def read_record(folder: Path, name: str) -> dict:
    """The content of a record, which must be a JSON mapping; empty if the folder has none."""
    path = folder / name
    if not path.exists():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON mapping; delete the file, or make it again.")
    return content


def is_ours(folder: Path) -> bool:
    """Whether a folder holds a length-adaptive model, in PyTorch or OpenVINO."""
    config = read_record(folder, "config.json")
    return config.get("dynamic_model_type", config.get("model_type")) == "dynamic_tinybert"


def remove_stale_records(folder: str | Path, keep: Iterable[str] = ()) -> None:
    """Removes the files of an earlier model from a folder with a new model of this package, except those in `keep`."""
    folder = Path(folder)
    if is_ours(folder):
        for name in set(OF_A_MODEL) - set(keep):
            (folder / name).unlink(missing_ok=True)
        remove_budget_files(folder, read_record(folder, "config.json").get("budgets") or ())


def budget_file(budget: str) -> str:
    """Name of the OpenVINO graph of one budget.

    Raises:
        ValueError: the name of the budget cannot be part of a file's name.
    """
    if Path(budget).name != budget:
        raise ValueError(f"The budget {budget!r} cannot be part of a file's name; rename it in config.budgets.")
    return f"openvino_model_{budget}.xml"


def remove_budget_files(folder: Path, budgets: Iterable[str]) -> None:
    """Removes the graphs of budgets that may have changed."""
    for budget in budgets:
        if Path(budget).name == budget:
            graph = folder / budget_file(budget)
            for path in (graph, graph.with_suffix(".bin")):
                path.unlink(missing_ok=True)


def hub_id(name: object) -> str | None:
    """The name if it can be a Hub id, else `None`: names of local folders are not published."""
    if not isinstance(name, str) or "/" not in name or name[0] in "./~" or Path(name).exists():
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def origin(source: str | None) -> dict[str, str]:
    """Where the weights of a training come from: `base_model` on the Hub, and `started_from` for a folder."""
    if not source:
        return {}
    path = Path(source)
    if not path.exists():
        return {"base_model": source} if hub_id(source) else {}
    earlier = read_record(path, TRAINING)
    base = {"base_model": earlier["base_model"]} if hub_id(earlier.get("base_model")) else {}
    return base | {"started_from": path.resolve().name}
