# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""`hf-dynbert evaluate`: accuracy, operations and latency at one budget or several."""

import datetime
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..utils.atomic_files import check_writable, replace_files
from ..utils.defaults import MAX_LENGTH, STRIDE
from ..utils.errors import InputError, reading
from ..utils.tables import print_table
from .checks import check_model, print_json, print_values


DESCRIPTION = "Measure exact match, F1, operations and latency of a question answering model at one budget or several."
EXAMPLE = "hf-dynbert evaluate --model outputs/model --data dev-v1.1.json --length_config named"
# Kept in the model's folder; latencies are not, since another machine has others
SAVED = ("f1", "exact_match", "macs_mean", "macs_ratio", "length_config")


@dataclass
class EvaluateArguments:
    """Options of `evaluate`."""

    model: str = field(metadata={"help": "Folder or Hub id of a model for extractive question answering."})
    data: list[str] = field(metadata={"help": "SQuAD files, or a data set on the Hub."})
    split: str = field(default="validation", metadata={"help": "Split of a data set on the Hub."})
    length_config: list[str] = field(
        default_factory=list,
        metadata={"help": "Budgets: names, full, lists such as 0.9,0.6,0.5,0.4; named: full and all with a name."},
    )
    limit: int | None = field(default=None, metadata={"help": "Number of questions, spread over the data."})
    held_out: float = field(default=0.0, metadata={"help": "Use only the part that training with this value did not see."})
    batch_size: int = field(default=32, metadata={"help": "Windows of a batch, padded to the longest."})
    max_length: int = field(default=MAX_LENGTH, metadata={"help": "Tokens of a window."})
    stride: int = field(default=STRIDE, metadata={"help": "Tokens that neighbouring windows share."})
    latency_samples: int = field(default=50, metadata={"help": "Number of windows to time at batch 1."})
    dtype: Literal["float32", "bfloat16"] = field(default="float32", metadata={"help": "Type of a PyTorch model's weights."})
    json: bool = field(default=False, metadata={"help": "Print one JSON value and nothing else."})
    predictions: str | None = field(default=None, metadata={"help": "JSON file to write the answers into."})
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
    from transformers import AutoTokenizer

    from ..hub.model_card import is_ours, write_evaluation
    from ..loading import load_any
    from ..tasks.question_answering.evaluate import SquadSample
    from ..tasks.question_answering.features import check_max_length
    from ..tasks.question_answering.report import COLUMNS, curve_rows
    from ..tasks.question_answering.squad import load_squad, split_by_article, spread_over

    with reading(f"--data {' '.join(args.data)}"):
        data = load_squad(args.data, split=args.split)
    if args.save and not is_ours(Path(args.model)):
        raise InputError(f"--save keeps the result in a length-adaptive model's folder; {args.model} is none.")
    if args.held_out:
        _, data = split_by_article(data, args.held_out)
    data = spread_over(data, args.limit)
    with reading(args.model):
        model = load_any(args.model, dtype=args.dtype)
        tokenizer = AutoTokenizer.from_pretrained(args.model, trust_remote_code=False)
    budgets = _budgets(model, args)
    check_max_length(model.config, args.max_length)
    sample = SquadSample(tokenizer, data, args.max_length, args.stride)
    options = {"batch_size": args.batch_size, "latency_samples": args.latency_samples, "progress": not args.json}
    results = {}
    for name in budgets:
        result = results[name] = sample.evaluate(model, _parsed(name), **options)
        if args.save:
            found = {key: result.to_dict()[key] for key in SAVED}
            write_evaluation(args.model, _questions(args, len(data)), name or "default", found)
    if args.predictions:
        path = Path(args.predictions)
        with replace_files(path.parent) as folder:
            (folder / path.name).write_text(json.dumps(result.predictions, ensure_ascii=False), encoding="utf-8")
    if len(results) == 1 and args.json:
        print_json(result.to_dict())
    elif len(results) == 1:
        print_values(result.to_dict())
    elif args.json:
        print_json({name: found.to_dict() for name, found in results.items()})
    else:
        print_table(COLUMNS, curve_rows(results))


def _check_file(name: str) -> None:
    """Tries the output file before the work."""
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        reason = "is a folder" if path.is_dir() else f"lies in {path.parent}, which is not a folder"
        raise InputError(f"--predictions {name} {reason}; give the name of a file in a folder that exists.")
    check_writable(path.parent)


def _budgets(model, args: EvaluateArguments) -> list[str | None]:
    """Budgets to evaluate, checked before any work; `None` is the default of the model."""
    names: list[str | None] = []
    for name in args.length_config or [None]:
        if name == "named" and hasattr(model.config, "length_configs"):
            names += model.config.named_budgets
        else:
            names.append(name)
    names = list(dict.fromkeys(names))
    if args.predictions and len(names) > 1:
        raise InputError(f"--predictions keeps the answers of one length configuration; got {', '.join(map(str, names))}.")
    for name in names:
        if hasattr(model.config, "resolve_length_config"):
            model.config.resolve_length_config(_parsed(name))
    return names


def _parsed(name: str | None):
    from ..subnetwork import parse_length_config

    return None if name is None else parse_length_config(name)


def _questions(args: EvaluateArguments, examples: int) -> dict:
    """The questions of an evaluation, without the place of their files."""
    names = [Path(name).name if Path(name).exists() else f"{name} {args.split}" for name in args.data]
    dataset = args.data[0] if len(args.data) == 1 and not Path(args.data[0]).exists() else None
    return {
        "data": ", ".join(names),
        "dataset": dataset,
        "split": args.split if dataset else None,
        "examples": examples,
        "settings": {name: getattr(args, name) for name in ("held_out", "max_length", "stride", "dtype")},
        "whole": not args.limit and not args.held_out,
        "date": datetime.date.today().isoformat(),
    }
