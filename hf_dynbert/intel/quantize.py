# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Post-training static int8 by NNCF, through Optimum-Intel's quantizer: one file, any budget."""

import json
import logging
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import nncf
from datasets import Dataset
from optimum.intel import OVConfig, OVQuantizationConfig, OVQuantizer
from optimum.intel.openvino.quantization import OVCalibrationDataset
from tqdm.auto import tqdm
from transformers import AutoTokenizer

from ..folders import replace_files
from ..length_config import encode_length_config
from ..question_answering.evaluate import evaluate_squad
from ..question_answering.squad import load_squad, split_by_article
from .arguments import QuantizeArguments
from .calibration import calibration_inputs
from .export import dial_to_input, input_to_dial
from .modeling_openvino import OVDynamicTinyBertForQuestionAnswering


logger = logging.getLogger(__name__)
# Scorers and the head are under 2 % of the operations, and what they say decides which token stays or answers
KEPT_EXACT = [".*token_scorer.*", ".*/qa_outputs.*", r".*length_adaptive_graph\.head.*"]
RECORD = "quantization.json"


def quantize(args: QuantizeArguments) -> Path:
    """Makes a folder with the int8 model, its budgets, tokenizer, and a record of how it was made.

    Args:
        args ([`QuantizeArguments`]): the model, the data and how.

    Returns:
        `Path`: the folder. It appears whole or not at all.

    Raises:
        ValueError: bad data, or a checkpoint of another architecture; before any work.
    """
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    calibration_data, accuracy_data = _split(load_squad(args.train_file or args.dataset_name), args)
    exact = _export(args.model)
    config = exact.config
    inputs = calibration_inputs(config, tokenizer, calibration_data, args.calibration_samples, args.max_length, args.stride)
    measure = _measure_with(tokenizer, accuracy_data, config, args)
    reference = measure(exact)
    model, kept, scores = static_quantize(args.model, inputs, args, []), [], {}
    if accuracy_data is not None:
        scores = measure(model)
        if args.max_f1_drop is not None:
            model, kept, scores = _protect(args, inputs, measure, reference, model, scores)
    record = {
        "arguments": {name: value for name, value in asdict(args).items() if name not in ("model", "output_dir")},
        "versions": {name: version(name) for name in ("openvino", "nncf", "optimum-intel", "torch", "transformers")},
        "calibration_windows": len(inputs),
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


def static_quantize(checkpoint: str, inputs: list, args: QuantizeArguments, kept: list[str]):
    """The checkpoint in int8, all but the parts kept exact.

    Args:
        checkpoint (`str`): folder or Hub id.
        inputs (`list[dict]`): see `calibration_inputs`.
        args ([`QuantizeArguments`]): how.
        kept (`list[str]`): regular expressions of further operations to leave in fp32.

    Returns:
        `OVDynamicTinyBertForQuestionAnswering`.
    """
    model = _export(checkpoint)
    default = encode_length_config(model.config.resolve_length_config(None), model.config.num_hidden_layers)
    dial_to_input(model.model)
    quantize_graph(model, inputs, args.smooth_quant_alpha, kept)
    input_to_dial(model.model, default)
    return model


def quantize_graph(model, inputs: list, smooth_quant_alpha: float, kept: list[str] | None = None) -> None:
    """Static int8 of any OpenVINO model of Optimum-Intel, in place.

    Args:
        model (`OVModel`): not compiled.
        inputs (`list[dict]`): calibration inputs.
        smooth_quant_alpha (`float`): see [`QuantizeArguments`].
        kept (`list[str]`, *optional*): regular expressions of operations to leave in fp32, besides scorers and heads.
    """
    quantization_config = OVQuantizationConfig(
        num_samples=len(inputs),
        smooth_quant_alpha=smooth_quant_alpha,
        ignored_scope={"patterns": KEPT_EXACT + (kept or []), "validate": False},  # not every model has scorers
        overflow_fix=_overflow_fix(),
    )
    OVQuantizer.from_pretrained(model).quantize(
        OVCalibrationDataset(nncf.Dataset(inputs)), ov_config=OVConfig(quantization_config=quantization_config)
    )


def _export(checkpoint: str) -> OVDynamicTinyBertForQuestionAnswering:
    return OVDynamicTinyBertForQuestionAnswering.from_pretrained(
        checkpoint, export=True, compile=False, ov_config={"INFERENCE_PRECISION_HINT": "f32"}
    )


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


def _protect(args, inputs, measure, reference, model, scores):
    """Leaves layers in fp32, the costliest first, until F1 holds at every budget."""

    def drop(scores) -> float:
        return max(reference[name] - score for name, score in scores.items())

    kept, layers = [], model.config.num_hidden_layers
    parts = [rf".*layer\.{i}\.{part}/.*" for i in range(layers) for part in ("attention.output.dense", "output.dense")]
    progress = tqdm(desc="Layers kept in fp32", total=len(parts))
    while drop(scores) > args.max_f1_drop and len(kept) < len(parts):
        trials = [(part, static_quantize(args.model, inputs, args, [*kept, part])) for part in parts if part not in kept]
        measured = [(drop(measure(trial)), part, trial) for part, trial in trials]
        _, part, model = min(measured, key=lambda item: item[:2])
        kept.append(part)
        scores = measure(model)
        progress.update()
    progress.close()
    if drop(scores) > args.max_f1_drop:
        logger.warning("int8 loses %.2f F1 even with %s in fp32; max_f1_drop is %s.", drop(scores), kept, args.max_f1_drop)
    return model, kept, scores


def _overflow_fix() -> str:
    """Without VNNI, products of 8-bit numbers overflow in 16 bits; weights of 7 bits do not."""
    cpu = Path("/proc/cpuinfo")
    if not cpu.exists() or "_vnni" in cpu.read_text(encoding="utf-8"):  # elsewhere than on Linux nobody says; most have it
        return "disable"
    logger.warning("This CPU has no VNNI: weights get 7 bits in the layers that could overflow, a little less exact.")
    return "enable"
