# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint in int8, with its accuracy held and a record of how it was made; whichever backend does the rounding."""

import json
import logging
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from datasets import Dataset
from tqdm.auto import tqdm
from transformers import AutoTokenizer

from ..folders import replace_files
from ..question_answering.evaluate import evaluate_squad
from ..question_answering.squad import load_squad, split_by_article
from .arguments import QuantizeArguments
from .checkpoints import load_config


logger = logging.getLogger(__name__)
RECORD = "quantization.json"


def quantize(args: QuantizeArguments) -> Path:
    """Makes a folder with the int8 model, its budgets, tokenizer, and a record of how it was made.

    Args:
        args ([`QuantizeArguments`]): the model, the data and how.

    Returns:
        `Path`: the folder. It appears whole or not at all.

    Raises:
        ValueError: bad data, or a checkpoint of another architecture; before any work.
        ImportError: the backend's packages are not installed.
    """
    config = load_config(args.model)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    calibration_data, accuracy_data = _split(load_squad(args.train_file or args.dataset_name), args)
    backend = backend_class(args.backend)(args, tokenizer, calibration_data)
    measure = _measure_with(tokenizer, accuracy_data, config, args)
    reference = measure(backend.exact())
    model, kept = backend.build([]), []
    scores = measure(model)
    if args.max_f1_drop is not None:
        model, kept, scores = protect(backend, measure, reference, model, scores, args.max_f1_drop)
    record = {
        "arguments": {name: value for name, value in asdict(args).items() if name not in ("model", "output_dir")},
        "versions": {name: version(name) for name in (*backend.packages, "torch", "transformers")},
        "kept_in_fp32": kept,
        "f1_fp32": reference,
        "f1_int8": scores,
        "f1_questions": 0 if accuracy_data is None else len(accuracy_data),
    }
    with replace_files(Path(args.output_dir)) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return Path(args.output_dir)


def backend_class(name: str):
    """The class that makes int8 models: imported here, since each needs packages of its own."""
    if name == "pytorch":
        from .pytorch_int8 import PyTorchInt8

        return PyTorchInt8
    from .static_int8 import StaticInt8

    return StaticInt8


def protect(backend, measure, reference: dict, model, scores: dict, max_f1_drop: float):
    """Leaves layers in fp32, the costliest first, until F1 holds at every budget.

    The layers are the two of each block that see the outliers: what leaves the attention, and what leaves the FFN.

    Args:
        backend: makes int8 models, `build(kept)`.
        measure (`Callable`): a model's F1 by budget.
        reference (`dict[str, float]`): F1 of the fp32 model by budget.
        model, scores: the int8 model with nothing kept, and its F1.
        max_f1_drop (`float`): most F1 to lose.

    Returns:
        The model, the layers' names, and its F1 by budget.
    """

    def drop(scores) -> float:
        return max(reference[name] - score for name, score in scores.items())

    kept, layers = [], range(model.config.num_hidden_layers)
    parts = [f"layer.{i}.{part}" for i in layers for part in ("attention.output.dense", "output.dense")]
    progress = tqdm(desc="Layers kept in fp32", total=len(parts))
    while drop(scores) > max_f1_drop and len(kept) < len(parts):
        best = None
        for part in parts:
            if part not in kept:
                trial = backend.build([*kept, part])
                measured = measure(trial)
                if best is None or drop(measured) < drop(best[2]):
                    best = trial, part, measured
        model, part, scores = best
        kept.append(part)
        progress.update()
    progress.close()
    if drop(scores) > max_f1_drop:
        logger.warning("int8 loses %.2f F1 even with %s in fp32; max_f1_drop is %s.", drop(scores), kept, max_f1_drop)
    return model, kept, scores


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
    budgets = ["full", *(config.budgets or {})]

    def measure(model) -> dict[str, float]:
        if data is None:
            return {}
        windows = {"max_length": args.max_length, "stride": args.stride, "latency_samples": 0}
        return {name: evaluate_squad(model, tokenizer, data, length_config=name, **windows).f1 for name in budgets}

    return measure
