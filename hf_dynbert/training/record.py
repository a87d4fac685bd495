# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The record of a training run for the model card: its settings, data, time and machine."""

import dataclasses
import json
from pathlib import Path

import torch
import transformers
from transformers import TrainingArguments

from ..budgets.latency import machine_name
from ..hub.model_card import write_card
from ..hub.records import TRAINING, origin, remove_stale_records
from ..utils.atomic_files import replace_files
from ..version import __version__
from .arguments import DistillationArguments


USUAL = (  # fields of TrainingArguments that others need to repeat a run; paths, names and tokens are private
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "bf16",
    "seed",
)


def training_record(trainer, about: dict) -> dict:
    """The settings that repeat a training run, its time and its machine; `about` adds what the trainer does not have."""
    args, settings = trainer.args, trainer.args.to_dict()
    names = [name for name in USUAL if name != "max_steps" or args.max_steps > 0]
    for field in dataclasses.fields(DistillationArguments):
        default = field.default_factory() if field.default is dataclasses.MISSING else field.default
        if field.name not in TrainingArguments.__dataclass_fields__ and settings[field.name] != default:
            names.append(field.name)
    record = {name: value for name, value in about.items() if value}
    if "base_model" not in record and "started_from" not in record:
        record |= origin(getattr(trainer.accelerator.unwrap_model(trainer.model).config, "_name_or_path", None))
    hyperparameters = {name: settings[name] for name in names if settings[name] is not None}
    record["hyperparameters"] = hyperparameters | record.pop("options", {}) | {"processes": args.world_size}
    if trainer.train_dataset is not None and hasattr(trainer.train_dataset, "__len__"):
        record["examples"] = len(trainer.train_dataset)
    times = [entry["train_runtime"] for entry in trainer.state.log_history if "train_runtime" in entry]
    if times and not trainer.resumed:  # a resumed run has the time of its last part only
        record |= {"minutes": round(times[-1] / 60, 1), "machine": _machine(args.device)}
    versions = {"hf_dynbert": __version__, "transformers": transformers.__version__, "torch": torch.__version__}
    return record | {"versions": versions}


def write_record(trainer, about: dict, folder: str | Path, repo_id: str | None = None) -> None:
    """Writes the record and the card into the model's folder; records of an earlier model there are removed."""
    text, path = json.dumps(training_record(trainer, about), indent=1) + "\n", Path(folder) / TRAINING
    known = path.read_text(encoding="utf-8") if path.exists() else None
    if known != text:  # an equal record means the same model: keep its measurements
        remove_stale_records(folder, keep=["model.safetensors"])
    with replace_files(Path(folder)) as unfinished:
        (unfinished / TRAINING).write_text(text, encoding="utf-8")
    write_card(folder, repo_id)


def _machine(device: torch.device) -> str:
    if device.type == "cpu":
        return machine_name(torch.get_num_threads())
    return torch.get_device_module(device).get_device_name(device)
