# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Makes an int8 folder of a checkpoint, with any backend, and records how it was made and what accuracy it has."""

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from datasets import Dataset
from transformers import AutoTokenizer

from ..budgets.model_budgets import length_configs, named_budgets
from ..configuration_dynamic_tinybert import DynamicTinyBertConfig
from ..hub.model_card import write_card
from ..hub.records import QUANTIZATION as RECORD
from ..hub.records import TRAINING, remove_stale_records
from ..tasks import Task, task_of
from ..tasks.base import check_head
from ..tasks.inference import check_max_length
from ..utils.atomic_files import replace_files
from ..utils.folder_config import load_config
from .arguments import QuantizeArguments
from .calibration import calibration_inputs


WEIGHTS = ("model.safetensors", "openvino_model.xml")
OVERRIDES = ("drop_layers", "dropped_logits")  # fields of the configuration that the int8 model may have differently


def quantize(args: QuantizeArguments, task: Task | None = None) -> Path:
    """Makes a folder with the int8 model, its budgets, its tokenizer, and a record of how it was made.

    Args:
        args ([`QuantizeArguments`]): the model, the data, and how to quantize.
        task ([`Task`], *optional*): task with the data and the metric; by default that of the checkpoint's head.

    Returns:
        `Path`: the folder. All files are written or none.

    Raises:
        ValueError: bad data, a checkpoint of another architecture or without the head of a task, or budgets that drop tokens
            in layers outside of `drop_layers`; before any work.
        ImportError: the packages of the backend are not installed.
    """
    output = Path(args.output_dir)
    _check_output(output)
    config = load_config(args.model)
    task = task or task_of(config, args.task, args.model)
    check_head(config, task, args.model)
    options = args.data_options(task, args.train_file or [], "train")
    if args.max_length is not None:
        check_max_length(config, args.max_length)
    tokenizer = AutoTokenizer.from_pretrained(args.model, trust_remote_code=False)
    training, validation = _split(task, task.load(_sources(task, args), options), args)
    if validation is None and (args.max_drop is not None or args.backend == "neural-compressor"):
        raise ValueError(
            f"No example of the data ({len(training)}) is left to measure accuracy on, which max_drop and tolerable_loss "
            "need. Give at least two examples, or validation_fraction=0.1 with more."
        )
    inputs = calibration_inputs(task, config, tokenizer, training, options, args.calibration_samples, args.seed)
    evaluator = None if validation is None else task.evaluator(tokenizer, validation, config, options)

    def measure(model) -> dict[str, float]:
        """The primary metric of a model at every named budget."""
        if evaluator is None:
            return {}
        return {name: evaluator(model, name)[evaluator.primary_metric] for name in named_budgets(config)}

    with checkpoint_with_overrides(args, task, config) as checkpoint:
        backend = backend_class(args.backend)(dataclasses.replace(args, model=checkpoint), task, inputs)
        reference = measure(backend.exact())
        model, kept, scores = backend.tune(measure, reference)
    metric = task.primary_metric if evaluator is None else evaluator.primary_metric
    record = {
        "arguments": _recorded_arguments(args),
        "task": task.name,
        "versions": {name: version(name) for name in (*backend.packages, "torch", "transformers")},
        "kept_in_fp32": kept,
        "length_configs": {name: length_configs(config).get(name) for name in reference},
        "metric": metric,
        f"{metric}_fp32": reference,
        f"{metric}_int8": scores,
        "examples": 0 if validation is None else len(validation),
    }
    with replace_files(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if args.backend == "openvino":
            from ..openvino.tokenizer import save_tokenizer_graph  # needs the intel extra

            save_tokenizer_graph(tokenizer, folder)
        task.write_extra_files(folder, config)
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        training_record = Path(args.model) / TRAINING  # the model card names the origin of the model
        if training_record.exists():
            shutil.copy(training_record, folder / TRAINING)
        made = [path.name for path in folder.iterdir()]
    remove_stale_records(args.output_dir, keep=made)
    write_card(args.output_dir)
    return output


@contextlib.contextmanager
def checkpoint_with_overrides(args: QuantizeArguments, task: Task, config) -> Iterator[str]:
    """Yields the checkpoint, or the folder of a copy with the options' `drop_layers` and `dropped_logits`."""
    overrides = {name: getattr(args, name) for name in OVERRIDES if getattr(args, name) is not None}
    if not overrides:
        yield args.model
        return
    DynamicTinyBertConfig.from_dict(config.to_dict() | overrides)  # raises an error for impossible values
    with tempfile.TemporaryDirectory() as folder:
        task.auto_class.from_pretrained(args.model, trust_remote_code=False, **overrides).save_pretrained(folder)
        yield folder


def backend_class(name: str) -> type:
    """The class that makes int8 models. It is imported here, since each backend needs packages of its own."""
    if name == "pytorch":
        from .pytorch import PyTorchInt8

        return PyTorchInt8
    if name == "neural-compressor":
        from .neural_compressor import NeuralCompressorInt8

        return NeuralCompressorInt8
    from .nncf_static import StaticInt8

    return StaticInt8


def _check_output(output: Path) -> None:
    """Refuses a folder whose weights are not int8: they would be deleted."""
    found = [name for name in WEIGHTS if (output / name).exists()]
    if found and not (output / RECORD).exists():
        raise ValueError(
            f"{output} holds a model that is not in int8 ({found[0]}); give the int8 model a folder of its own."
        )


def _sources(task: Task, args: QuantizeArguments) -> list[str]:
    """Files, or one data set on the Hub."""
    if args.train_file:
        return args.train_file
    name = args.dataset_name or task.default_dataset
    if name is None:
        raise ValueError(f"Task {task.name!r} has no default data set. Give the training data: --train_file FILE.")
    return [name]


def _split(task: Task, data: Dataset, args: QuantizeArguments) -> tuple[Dataset, Dataset | None]:
    """The data for calibration, and other data for measuring accuracy."""
    if args.validation_fraction:
        training, validation = task.split(data, args.validation_fraction)
    else:
        data = data.shuffle(seed=args.seed)
        middle = max(1, min(args.calibration_samples, len(data) // 2))
        # a list, since `datasets` raises for an empty range behind the last row
        training, validation = data.select(range(middle)), data.select(list(range(middle, len(data))))
    validation = validation.shuffle(seed=args.seed).select(range(min(args.accuracy_samples, len(validation))))
    return training, validation if len(validation) else None


def _recorded_arguments(args: QuantizeArguments) -> dict:
    """The arguments without paths, which would publish names of folders and users."""
    arguments = {name: value for name, value in dataclasses.asdict(args).items() if name not in ("model", "output_dir")}
    arguments["train_file"] = [Path(name).name for name in args.train_file or []]
    if args.train_file:
        del arguments["dataset_name"]
    elif args.dataset_name and Path(args.dataset_name).exists():
        arguments["dataset_name"] = Path(args.dataset_name).name
    return arguments
