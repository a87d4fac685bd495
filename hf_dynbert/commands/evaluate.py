# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert evaluate`: accuracy, operations and latency at one budget or several."""

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..utils.atomic_files import check_writable, replace_files
from ..utils.defaults import STRIDE
from ..utils.errors import InputError, reading
from ..utils.tables import print_table
from .checks import check_model, print_json, print_values


DESCRIPTION = "Measure the task's metrics, operations and latency of a model at one budget or several."
EXAMPLE = "hf-dynbert evaluate --model outputs/model --data dev-v1.1.json --budget named"


@dataclass
class EvaluateArguments:
    """Options of `evaluate`."""

    model: str = field(metadata={"help": "Folder or Hub id of a model with a head for the task."})
    data: list[str] = field(metadata={"help": "Files, or a data set on the Hub."})
    task: str | None = field(default=None, metadata={"help": "Task; that of the model's head by default."})
    split: str = field(default="validation", metadata={"help": "Split of a data set on the Hub."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of a data set on the Hub."})
    text_columns: list[str] = field(
        default_factory=lambda: ["text"], metadata={"help": "Column of a text, or two of a pair."}
    )
    label_column: str = field(default="label", metadata={"help": "Column of the labels."})
    budget: list[str] = field(
        default_factory=list,
        metadata={"help": "Budgets: names, full, lists such as 0.9,0.6,0.5,0.4; named: full and all with a name."},
    )
    length_config: list[str] = field(default_factory=list, metadata={"help": "The same as --budget."})
    limit: int | None = field(default=None, metadata={"help": "Number of examples, spread over the data."})
    validation_fraction: float = field(
        default=0.0, metadata={"help": "Use only the validation split of a training with this value."}
    )
    handle_impossible_answer: bool | None = field(
        default=None, metadata={"help": 'Whether "no answer" is an answer; needed for data with such questions.'}
    )
    batch_size: int = field(default=32, metadata={"help": "Inputs of a batch, padded to the longest."})
    max_length: int | None = field(default=None, metadata={"help": "Tokens of an input; 384 for questions, 128 for texts."})
    stride: int = field(default=STRIDE, metadata={"help": "Tokens that neighbouring windows share."})
    latency_samples: int = field(default=50, metadata={"help": "Number of inputs to time at batch 1."})
    dtype: Literal["float32", "bfloat16"] = field(default="float32", metadata={"help": "Type of a PyTorch model's weights."})
    json: bool = field(default=False, metadata={"help": "Print one JSON value and nothing else."})
    predictions: str | None = field(default=None, metadata={"help": "JSON file to write the predictions into."})
    save: bool = field(default=False, metadata={"help": "Keep the result in the model's folder, for its card."})


def argument_classes() -> tuple[type, ...]:
    """Dataclasses whose fields are the options."""
    return (EvaluateArguments,)


def run(args: EvaluateArguments) -> None:
    """Prints the measurements: all of one budget, or a table of several."""
    if args.predictions:
        _check_file(args.predictions)
    if args.save:
        check_writable(args.model)
    check_model(args.model, "--model")
    from transformers import AutoConfig

    from ..hub.model_card import write_evaluation
    from ..hub.records import is_ours
    from ..loading import load, load_tokenizer
    from ..tasks import DataOptions, measure, task_of
    from ..tasks.question_answering.squad import spread_over
    from ..tasks.report import measurement_table

    with reading(args.model):
        task = task_of(AutoConfig.from_pretrained(args.model, trust_remote_code=False), args.task, args.model)
    options = DataOptions(
        split=args.split,
        config_name=args.dataset_config_name,
        text_columns=tuple(args.text_columns),
        label_column=args.label_column,
        max_length=args.max_length,
        stride=args.stride,
        handle_impossible_answer=args.handle_impossible_answer,
    )
    with reading(f"--data {' '.join(args.data)}"):
        data = task.load(args.data, options)
    if args.save and not is_ours(Path(args.model)):
        raise InputError(f"--save keeps the result in a length-adaptive model's folder; {args.model} is none.")
    if args.validation_fraction:
        _, data = task.split(data, args.validation_fraction)
    data = spread_over(data, args.limit)
    with reading(args.model):
        model, tokenizer = load(args.model, task.name, dtype=args.dtype), load_tokenizer(args.model)
    budgets = _budgets(model, args)
    _check_length(model.config, args.max_length)
    evaluator = task.evaluator(tokenizer, data, model.config, options, args.batch_size, progress=not args.json)
    results = {}
    for name in budgets:
        result = results[name or "default"] = measure(model, evaluator, _parsed(name), args.latency_samples)
        if args.save:
            saved = result.scores.metrics | {
                key: getattr(result, key) for key in ("macs_mean", "macs_ratio", "length_config")
            }
            write_evaluation(args.model, _data_record(args, task, len(data)), name or "default", saved)
    if args.predictions:
        identifiers = data["id"] if "id" in data.column_names else map(str, range(len(data)))
        predictions = dict(zip(identifiers, result.scores.predictions, strict=True))
        path = Path(args.predictions)
        with replace_files(path.parent) as folder:
            (folder / path.name).write_text(json.dumps(predictions, ensure_ascii=False), encoding="utf-8")
    if len(results) == 1 and args.json:
        print_json(result.to_dict())
    elif len(results) == 1:
        print_values(result.to_dict())
    elif args.json:
        print_json({name: measurement.to_dict() for name, measurement in results.items()})
    else:
        print_table(*measurement_table(results))


def _check_file(name: str) -> None:
    """Tries the output file before the work."""
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        reason = "is a folder" if path.is_dir() else f"lies in {path.parent}, which is not a folder"
        raise InputError(f"--predictions {name} {reason}; give the name of a file in a folder that exists.")
    check_writable(path.parent)


def _check_length(config, max_length: int | None) -> None:
    """Refuses a length that the model does not read."""
    from ..tasks.question_answering.features import check_max_length

    if max_length is not None:
        check_max_length(config, max_length)


def _budgets(model, args: EvaluateArguments) -> list[str | None]:
    """Budgets to evaluate, checked before any work; `None` is the default of the model."""
    from ..budgets.model_budgets import named_budgets
    from ..tasks.base import budget_arguments

    if args.budget and args.length_config:
        raise InputError("--budget and --length_config are the same option; give one of them.")
    names: list[str | None] = []
    for name in args.budget or args.length_config or [None]:
        if name == "named" and hasattr(model.config, "resolve_budget"):
            names += named_budgets(model.config)
        else:
            names.append(name)
    names = list(dict.fromkeys(names))
    if args.predictions and len(names) > 1:
        raise InputError(f"--predictions keeps the predictions of one budget; got {', '.join(map(str, names))}.")
    for name in names:
        budget_arguments(model, _parsed(name))
    return names


def _parsed(name: str | None):
    from ..budgets.sampling import parse_length_config

    return None if name is None else parse_length_config(name)


def _data_record(args: EvaluateArguments, task, examples: int) -> dict:
    """The data of an evaluation, without the place of their files."""
    names = [Path(name).name if Path(name).exists() else f"{name} {args.split}" for name in args.data]
    dataset = args.data[0] if len(args.data) == 1 and not Path(args.data[0]).exists() else None
    return {
        "task": task.name,
        "data": ", ".join(names),
        "dataset": dataset,
        "split": args.split if dataset else None,
        "examples": examples,
        "settings": {
            "validation_fraction": args.validation_fraction,
            "max_length": args.max_length or task.max_length,
            "stride": args.stride,
            "dtype": args.dtype,
        },
        "whole": not args.limit and not args.validation_fraction,
        "date": datetime.date.today().isoformat(),
    }
