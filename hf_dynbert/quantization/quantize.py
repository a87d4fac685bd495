# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint in int8, with its accuracy held and a record of how it was made; whichever backend does the rounding."""

import dataclasses
import json
import shutil
from importlib.metadata import version
from pathlib import Path

from datasets import Dataset
from transformers import AutoTokenizer

from ..hub.model_card import write_card
from ..hub.records import QUANTIZATION as RECORD
from ..hub.records import TRAINING, remove_stale_records
from ..tasks.question_answering.evaluate import evaluate_squad
from ..tasks.question_answering.features import check_max_length
from ..tasks.question_answering.squad import load_squad, split_by_article
from ..utils.atomic_files import replace_files
from ..utils.folder_config import load_config
from .arguments import QuantizeArguments
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
    check_max_length(config, args.max_length)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    calibration_data, accuracy_data = _split(load_squad(args.train_file or args.dataset_name), args)
    measure = _measure_with(tokenizer, accuracy_data, config, args)
    with narrowed(args, config, tokenizer, calibration_data) as checkpoint:
        backend = backend_class(args.backend)(dataclasses.replace(args, model=checkpoint), tokenizer, calibration_data)
        reference = measure(backend.exact())
        model, kept, scores = backend.tune(measure, reference)
    arguments = {name: value for name, value in dataclasses.asdict(args).items() if name not in ("model", "output_dir")}
    if args.train_file:
        del arguments["dataset_name"]
    elif Path(args.dataset_name).exists():
        arguments["dataset_name"] = Path(args.dataset_name).name
    arguments["train_file"] = [Path(name).name for name in args.train_file or []]  # where they lay is nobody's business
    record = {
        "arguments": arguments,
        "versions": {name: version(name) for name in (*backend.packages, "torch", "transformers")},
        "kept_in_fp32": kept,
        "length_configs": {name: config.resolve_length_config(name) for name in reference},
        "f1_fp32": reference,
        "f1_int8": scores,
        "f1_questions": 0 if accuracy_data is None else len(accuracy_data),
    }
    with replace_files(Path(args.output_dir)) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        training = Path(args.model) / TRAINING  # a card says where its model comes from
        if training.exists():
            shutil.copy(training, folder / TRAINING)
        made = [path.name for path in folder.iterdir()]
    remove_stale_records(args.output_dir, keep=made)
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


def _split(data: Dataset, args: QuantizeArguments) -> tuple[Dataset, Dataset | None]:
    """Questions to calibrate with, and others to measure on."""
    if args.held_out:
        data, others = split_by_article(data, args.held_out)
    else:
        data = data.shuffle(seed=args.seed)
        middle = min(args.calibration_samples, len(data) // 2)
        data, others = data.select(range(middle)), data.select(range(middle, len(data)))
    others = others.shuffle(seed=args.seed).select(range(min(args.accuracy_samples, len(others))))
    return data, others if len(others) else None


def _measure_with(tokenizer, data, config, args: QuantizeArguments):
    """A function from a model to its F1 at every budget."""

    def measure(model) -> dict[str, float]:
        if data is None:
            return {}
        windows = {"max_length": args.max_length, "stride": args.stride, "latency_samples": 0}
        return {
            name: evaluate_squad(model, tokenizer, data, length_config=name, **windows).f1 for name in config.named_budgets
        }

    return measure
