# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint in int8, with its accuracy held and a record of how it was made; whichever backend does the rounding."""

import dataclasses
import json
import shutil
from importlib.metadata import version
from pathlib import Path

from datasets import Dataset
from transformers import AutoTokenizer

from ..hub.model_card import QUANTIZATION as RECORD
from ..hub.model_card import TRAINING, forget, write_card
from ..tasks import DataOptions, Task, task_of
from ..tasks.question_answering.features import check_max_length
from ..utils.atomic_files import replace_files
from ..utils.folder_config import load_config
from .arguments import DEFAULT_DATASET, DEFAULT_TASK, QuantizeArguments
from .calibration import calibration_calls
from .strip_scorers import narrowed


def quantize(args: QuantizeArguments) -> Path:
    """Makes a folder with the int8 model, its budgets, tokenizer, and a record of how it was made.

    Args:
        args ([`QuantizeArguments`]): the model, the data and how.

    Returns:
        `Path`: the folder. It appears whole or not at all.

    Raises:
        ValueError: bad data, a checkpoint of another architecture, or budgets that drop elsewhere than in `drop_layers`;
            before any work.
        ImportError: the backend's packages are not installed.
    """
    output = Path(args.output_dir)
    if (output / "model.safetensors").exists() and not (output / RECORD).exists():  # whose weights would be lost
        raise ValueError(f"{output} holds a model that is not in int8; give the int8 model a folder of its own.")
    config = load_config(args.model)
    task = task_of(config, args.task, args.model)
    if args.backend == "neural-compressor" and task.name != DEFAULT_TASK:
        raise ValueError(
            f"{args.model} is a model for {task.name}; neural-compressor quantizes models for {DEFAULT_TASK} only. Use "
            'backend="openvino" or backend="pytorch".'
        )
    if args.max_length is not None:
        check_max_length(config, args.max_length)
    if not (args.train_file or args.dataset_name or task.name == DEFAULT_TASK):
        raise ValueError(f"Task {task.name} needs data to calibrate with: give train_file or dataset_name.")
    tokenizer = AutoTokenizer.from_pretrained(args.model, trust_remote_code=False)
    options = DataOptions(
        text_columns=tuple(args.text_columns),
        label_column=args.label_column,
        max_length=args.max_length,
        stride=args.stride,
        handle_impossible_answer=False,
    )
    sources = args.train_file or [args.dataset_name or DEFAULT_DATASET]
    calibration_data, accuracy_data = _split(task.load(sources, options), task, args)
    measure, metric = _measure_with(tokenizer, accuracy_data, config, task, options)
    calls = calibration_calls(config, task.inputs(tokenizer, calibration_data, options), args.calibration_samples, args.seed)
    with narrowed(args, config, calls) as checkpoint:
        backend = backend_class(args.backend)(dataclasses.replace(args, model=checkpoint), task, calls)
        reference = measure(backend.exact())
        model, kept, scores = backend.tune(measure, reference)
    arguments = {name: value for name, value in dataclasses.asdict(args).items() if name not in ("model", "output_dir")}
    if args.train_file:
        del arguments["dataset_name"]
    elif args.dataset_name and Path(args.dataset_name).exists():
        arguments["dataset_name"] = Path(args.dataset_name).name
    arguments["train_file"] = [Path(name).name for name in args.train_file or []]  # where they lay is nobody's business
    record = {
        "arguments": arguments,
        "versions": {name: version(name) for name in (*backend.packages, "torch", "transformers")},
        "kept_in_fp32": kept,
        "length_configs": {name: config.resolve_length_config(name) for name in reference},
        "task": task.name,
        "metric": metric,
        f"{metric}_fp32": reference,
        f"{metric}_int8": scores,
        f"{metric}_examples": 0 if accuracy_data is None else len(accuracy_data),
    }
    with replace_files(Path(args.output_dir)) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        training = Path(args.model) / TRAINING  # a card says where its model comes from
        if training.exists():
            shutil.copy(training, folder / TRAINING)
        made = [path.name for path in folder.iterdir()]
    forget(args.output_dir, keep=made)
    write_card(args.output_dir)
    return Path(args.output_dir)


def backend_class(name: str):
    """The class that makes int8 models: imported here, since each needs packages of its own."""
    if name == "pytorch":
        from .pytorch import PyTorchInt8

        return PyTorchInt8
    if name == "neural-compressor":
        from .neural_compressor import NeuralCompressorInt8

        return NeuralCompressorInt8
    from .nncf_static import StaticInt8

    return StaticInt8


def _split(data: Dataset, task: Task, args: QuantizeArguments) -> tuple[Dataset, Dataset | None]:
    """Examples to calibrate with, and others to measure on."""
    if args.validation_fraction:
        data, others = task.split(data, args.validation_fraction)
    else:
        data = data.shuffle(seed=args.seed)
        middle = min(args.calibration_samples, len(data) // 2)
        data, others = data.select(range(middle)), data.select(range(middle, len(data)))
    others = others.shuffle(seed=args.seed).select(range(min(args.accuracy_samples, len(others))))
    return data, others if len(others) else None


def _measure_with(tokenizer, data: Dataset | None, config, task: Task, options: DataOptions):
    """A function from a model to its primary metric at every budget, and the name of this metric."""
    if data is None:
        return lambda model: {}, "score"
    evaluator = task.evaluator(tokenizer, data, config, options, progress=True)

    def measure(model) -> dict[str, float]:
        return {name: evaluator(model, name)[evaluator.primary_metric] for name in config.named_budgets}

    return measure, evaluator.primary_metric
