# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Loads a model with the head and in the runtime that it was saved for."""

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedConfig

from .backbones.convert import HUB_ARGUMENTS, one_clear_error
from .budgets.budget import read_budgets
from .configuration_dynamic_tinybert import DynamicTinyBertConfig
from .tasks.base import Task, task_of
from .tasks.pipelines import check_vocabulary


OPENVINO_FILE = "openvino_model.xml"


def load(name: str | Path, task: str | None = None, threads: int | None = None, dtype: str | None = None, **kwargs):
    """Loads a model, length-adaptive or not, from a PyTorch or an OpenVINO folder.

    Code of a repository is not run, unless `trust_remote_code=True` is given.

    Args:
        name (`str` or `Path`): a folder or a Hub id.
        task (`str`, *optional*): a name of a task, such as `"question-answering"`; by default that of the saved head.
        threads (`int`, *optional*): CPU threads of a call; all cores by default. For PyTorch it is set for the process.
        dtype (`str`, *optional*): type of the weights of a PyTorch model, `"float32"` by default. OpenVINO models compute in
            the type that they were exported in.
        kwargs: arguments of `from_pretrained`, such as `revision`, `token`, `cache_dir` or, for OpenVINO, `ov_config`.

    Returns:
        A model of transformers, Optimum-Intel or hf_dynbert, in evaluation mode.

    Raises:
        ValueError: no head for the task, weights that are missing, or a `dtype` for an OpenVINO model.
        OSError: no such folder or repository, or damaged files.
        ImportError: an OpenVINO model without the `intel` extra.

    Example:

    ```python
    >>> import hf_dynbert

    >>> model = hf_dynbert.load("outputs/int8", threads=2)
    ```
    """
    name = str(name)
    config = _read_config(name, kwargs)
    read_budgets(config.get("budgets"))  # refuses measured values that are no numbers
    if config.get("architectures"):
        task_of(config, source=name)  # refuses a model without a head
    task = task_of(config, task, name)
    if not is_openvino(name, config):
        if threads:
            torch.set_num_threads(threads)
        return _load_pytorch(name, task, dtype=dtype or "float32", **kwargs)
    if dtype not in (None, "auto", "float32"):
        raise ValueError(f"{name} is an OpenVINO model, whose type was set by its export. Leave out dtype={dtype!r}.")
    return _load_openvino(name, task, threads, config, **kwargs)


def load_tokenizer(name: str | Path, **kwargs):
    """Loads the tokenizer of a model, without running code of a repository.

    Args:
        name (`str` or `Path`): a folder or a Hub id.
        kwargs: arguments of `AutoTokenizer.from_pretrained`.

    Raises:
        ValueError: the folder has no tokenizer.
        OSError: no such folder or repository.
    """
    tokenizer = AutoTokenizer.from_pretrained(name, **{"trust_remote_code": False} | kwargs)
    check_vocabulary(tokenizer, str(name))
    return tokenizer


def is_openvino(name: str, config: dict) -> bool:
    """Whether a folder or a repository contains an exported model; in a repository, only our exports are recognised.

    Args:
        name (`str`): a folder or a Hub id.
        config (`dict`): its config.json.
    """
    if Path(name).exists():
        return (Path(name) / OPENVINO_FILE).exists()
    return "dynamic_model_type" in config


class QuestionAnsweringLoader:
    """Loader of `pipeline("extractive-qa")` for PyTorch and OpenVINO models."""

    task = "question-answering"

    @classmethod
    def from_pretrained(cls, name: str, **kwargs):
        """Loads a model for the task.

        Args:
            name (`str`): a folder or a Hub id.
            kwargs: what `pipeline` passes to the `from_pretrained` of a model.
        """
        for argument in ("_from_pipeline", "_commit_hash"):
            kwargs.pop(argument, None)
        return load(name, cls.task, **kwargs)


class TextClassificationLoader(QuestionAnsweringLoader):
    """Loader of `pipeline("text-classification")` for PyTorch and OpenVINO models."""

    task = "text-classification"

    @classmethod
    def from_pretrained(cls, name: str, **kwargs):
        """Loads a model for the task; plain PyTorch models exactly as transformers does.

        Args:
            name (`str`): a folder or a Hub id.
            kwargs: what `pipeline` passes to the `from_pretrained` of a model.
        """
        config = _read_config(name, kwargs)
        if is_openvino(name, config) or config.get("model_type") == DynamicTinyBertConfig.model_type:
            return super().from_pretrained(name, **kwargs)
        return AutoModelForSequenceClassification.from_pretrained(name, **kwargs)


def _read_config(name: str, arguments: dict) -> dict:
    """The config.json of a folder or a repository."""
    hub = {key: arguments[key] for key in HUB_ARGUMENTS if key in arguments}
    config, _ = PreTrainedConfig.get_config_dict(name, **hub)
    if not config:
        raise OSError(f"{name} has no config.json: it is not a model's folder, or its download or save was interrupted.")
    return config


def _load_pytorch(name: str, task: Task, **kwargs):
    kwargs["trust_remote_code"] = bool(kwargs.get("trust_remote_code"))  # `None` would prompt on the terminal
    with one_clear_error(name):
        model, found = task.auto_class.from_pretrained(name, output_loading_info=True, **kwargs)
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        raise ValueError(
            f"The weights of {name} are incomplete: {len(missing)} are missing, for example {missing[0]}. Save or download "
            "the model again."
        )
    return model.eval()


def _load_openvino(
    name: str, task: Task, threads: int | None, config: dict, trust_remote_code=None, device_map=None, **kwargs
):
    """Loads an OpenVINO model. It has no code and runs on the CPU, so `trust_remote_code` and `device_map` are ignored."""
    from .openvino import graph_checks, modeling_openvino  # OpenVINO and Optimum-Intel take seconds to import

    settings = kwargs.pop("ov_config", None) or {}
    if threads:
        settings = settings | {"INFERENCE_NUM_THREADS": threads}
    ours = DynamicTinyBertConfig.model_type in (config.get("dynamic_model_type"), config.get("model_type"))
    if ours:
        return modeling_openvino.model_class(task.head).from_pretrained(name, ov_config=settings, **kwargs)
    from optimum import intel

    model_class = getattr(intel, f"OVModel{task.head}")
    model = model_class.from_pretrained(name, ov_config=modeling_openvino.PRECISION | settings, **kwargs)
    graph_checks.check_outputs(model.model, modeling_openvino.GRAPH_OUTPUTS[task.head], name)
    return model
