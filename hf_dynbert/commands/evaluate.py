# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert evaluate`: accuracy, operations and latency at one budget or several."""

import datetime
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..utils.atomic_files import check_writable, replace_files
from ..utils.errors import InputError, reading
from ..utils.tables import print_table
from ..utils.task_arguments import TaskArguments
from .checks import check_model, print_json, print_values


DESCRIPTION = "Measure the task's metrics, operations and latency of a model at one budget or several."
EXAMPLE = "hf-dynbert evaluate --model outputs/model --data dev-v1.1.json --budget named"


@dataclass
class EvaluateArguments(TaskArguments):
    """Options of `evaluate`.

    Args:
        model (`str`): folder or Hub id of a model with a head for the task.
        data (`list[str]`): files, or a data set on the Hub.
        split (`str`): split of a data set on the Hub.
        budget (`list[str]`): names, lists such as 0.9,0.6,0.5,0.4, or `named` for full and all named budgets.
        limit (`int`, *optional*): number of examples, spread over the data.
        validation_fraction (`float`): use only the validation split of a training run with this value.
        batch_size (`int`): inputs of a batch, padded to the longest.
        latency_samples (`int`): number of inputs to time at batch 1.
        dtype (`str`): type of a PyTorch model's weights.
        json (`bool`): print one JSON value and nothing else.
        predictions (`str`, *optional*): JSON file to write the predictions into.
        save (`bool`): keep the result in the model's folder, for its card.
    """

    model: str
    data: list[str]
    split: str = "validation"
    budget: list[str] = field(default_factory=list)
    limit: int | None = None
    validation_fraction: float = 0.0
    batch_size: int = 32
    latency_samples: int = 50
    dtype: Literal["float32", "bfloat16"] = "float32"
    json: bool = False
    predictions: str | None = None
    save: bool = False


ARGUMENTS = (EvaluateArguments,)


def run(args: EvaluateArguments) -> None:
    """Prints the measurements: all of one budget, or a table of several."""
    _check_outputs(args)
    check_model(args.model, "--model")
    from transformers import AutoConfig

    from ..hub.model_card import write_evaluation
    from ..hub.records import is_ours
    from ..loading import load, load_tokenizer
    from ..tasks import measure, task_of
    from ..tasks.inference import check_max_length
    from ..tasks.question_answering.squad import spread_over
    from ..tasks.report import measurement_table

    with reading(args.model):
        config = AutoConfig.from_pretrained(args.model, trust_remote_code=False)
    task = task_of(config, args.task, args.model)
    options = args.data_options(task, args.data, args.split)
    with reading(f"--data {' '.join(args.data)}"):
        data = task.load(args.data, options)
    if args.save and not is_ours(Path(args.model)):
        raise InputError(f"--save keeps the result in a length-adaptive model's folder; {args.model} is none.")
    if args.validation_fraction:
        _, data = task.split(data, args.validation_fraction)
    data = spread_over(data, args.limit)
    if args.predictions and "id" in data.column_names:
        identifier, times = Counter(data["id"]).most_common(1)[0]
        if times > 1:
            raise InputError(
                f"--predictions keeps one prediction for an id, but {times} examples have the id {identifier!r}."
            )
    with reading(args.model):
        model, tokenizer = load(args.model, task.name, dtype=args.dtype), load_tokenizer(args.model)
    budgets = _read_budgets(model, args)
    if args.max_length is not None:
        check_max_length(model.config, args.max_length)
    evaluator = task.evaluator(tokenizer, data, model.config, options, args.batch_size, progress=not args.json)
    results = {}
    for name, budget in budgets.items():
        result = results[name] = measure(model, evaluator, budget, args.latency_samples)
        if args.save:
            costs = {key: getattr(result, key) for key in ("macs_mean", "macs_ratio", "length_config")}
            write_evaluation(args.model, _data_record(args, task, len(data)), name, result.scores.metrics | costs)
    if args.predictions:
        identifiers = data["id"] if "id" in data.column_names else map(str, range(len(data)))
        predictions = dict(zip(identifiers, result.scores.predictions, strict=True))
        path = Path(args.predictions)
        with replace_files(path.parent) as folder:
            (folder / path.name).write_text(json.dumps(predictions, ensure_ascii=False), encoding="utf-8")
    values = {name: measurement.to_dict() for name, measurement in results.items()}
    if args.json:
        print_json(values if len(values) > 1 else result.to_dict())
    elif len(results) == 1:
        print_values(result.to_dict())
    else:
        print_table(*measurement_table(results))


def _check_outputs(args: EvaluateArguments) -> None:
    """Refuses outputs that cannot be written, before any work."""
    if args.save:
        check_writable(args.model)
    if args.predictions:
        path = Path(args.predictions)
        if path.is_dir() or not path.parent.is_dir():
            reason = "is a folder" if path.is_dir() else f"lies in {path.parent}, which is not a folder"
            raise InputError(f"--predictions {path} {reason}; give the name of a file in a folder that exists.")
        check_writable(path.parent)


def _read_budgets(model, args: EvaluateArguments) -> dict:
    """Name to budget, checked before any work; without `--budget` the default of the model."""
    from ..budgets.model_budgets import named_budgets
    from ..budgets.sampling import parse_length_config
    from ..tasks.base import budget_arguments

    if not args.budget:
        return {"default": None}
    budgets = {}
    for name in args.budget:
        is_all = name == "named" and hasattr(model.config, "resolve_budget")
        budgets |= {item: parse_length_config(item) for item in (named_budgets(model.config) if is_all else [name])}
    if args.predictions and len(budgets) > 1:
        raise InputError(f"--predictions keeps the predictions of one budget; got {', '.join(budgets)}.")
    for budget in budgets.values():
        budget_arguments(model, budget)
    return budgets


def _data_record(args: EvaluateArguments, task, examples: int) -> dict:
    """The data of an evaluation, without paths."""
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
