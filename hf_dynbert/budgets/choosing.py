# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Chooses a budget of a model by latency, cost or accuracy, in any runtime."""

import json
import logging

import torch

from ..configuration_dynamic_tinybert import FULL
from .budget import Budget, choose_budget
from .latency import machine_name, measure_latencies, remembered


QUESTION = 14  # tokens of a question with CLS and SEP, as in SQuAD

logger = logging.getLogger(__name__)


def runtime_name(model) -> str:
    """Name and version of the runtime that computes `model`, and the type of its weights."""
    if hasattr(model, "runtime_name"):  # an OpenVINO model
        return model.runtime_name
    kind = "int8" if getattr(model.config, "quantization_config", None) else str(model.dtype).removeprefix("torch.")
    place = ""
    if model.device.type != "cpu":
        place = f" on {torch.get_device_module(model.device).get_device_name(model.device)}"
    return f"PyTorch {torch.__version__} {kind}{place}"


def threads_of(model) -> int:
    """Number of threads that one call of `model` uses."""
    return model.threads if hasattr(model, "threads") else torch.get_num_threads()


def choose_budget_of(
    model,
    max_latency_ms: float | None = None,
    max_macs: float | None = None,
    min_f1: float | None = None,
    speedup: float | None = None,
) -> list[int | float] | str:
    """The length configuration that meets a requirement: `length_config=model.choose_budget(speedup=2)`.

    Latencies are those of this machine: budgets that were measured on another machine are timed here once, and stored.

    Args:
        model: a model with measured `config.budgets` that takes `input_ids`, `attention_mask` and `length_config`.
        max_latency_ms (`float`, *optional*): most milliseconds of a call at batch 1 with an input of usual length.
        max_macs (`float`, *optional*): most multiply-accumulates of an example, mean over the sample of the search.
        min_f1 (`float`, *optional*): least F1 on that sample, percent.
        speedup (`float`, *optional*): least speedup over full length.

    Returns:
        `list` or `str`: the length configuration with the highest F1 that fits, or with `min_f1` alone the fastest;
        `"full"` where that is all tokens.

    Raises:
        ValueError: nothing that fits, or no measured budgets; see `hf-dynbert search`.
    """
    budgets = [Budget.read(name, entry) for name, entry in (model.config.budgets or {}).items()]
    budgets = [budget for budget in budgets if budget is not None]
    if max_macs is None or max_latency_ms is not None or speedup is not None:
        budgets = _timed_here(model, budgets)
    chosen = choose_budget(budgets, max_latency_ms, max_macs, min_f1, speedup)
    return FULL if chosen.length_config is None else list(chosen.length_config)


def _timed_here(model, budgets: list[Budget]) -> list[Budget]:
    """The budgets with latencies of this machine and runtime."""
    machine = machine_name(threads_of(model))
    elsewhere = [budget for budget in budgets if (budget.machine, budget.runtime) != (machine, runtime_name(model))]
    if not elsewhere:
        return budgets
    tokens = max(budget.tokens or 1 for budget in budgets)
    unlike = {
        name: value for name, value in model.config.to_dict().items() if name not in ("budgets", "_name_or_path", "auto_map")
    }
    settings = json.dumps(unlike, sort_keys=True, default=str)
    key = [machine, runtime_name(model), type(model).__name__, settings, tokens, [b.length_config for b in budgets]]
    latencies, path, new = remembered(key, lambda: _time(model, budgets, tokens))
    if new:
        logger.warning(f"Timed {len(budgets)} budgets at {tokens} tokens on this machine ({machine}); kept in {path}.")
    return [
        Budget(**vars(budget) | {"latency_ms": latency, "machine": machine, "runtime": runtime_name(model)})
        for budget, latency in zip(budgets, latencies, strict=True)
    ]


def _time(model, budgets: list[Budget], tokens: int) -> list[float]:
    generator = torch.Generator().manual_seed(0)  # its own: nobody else's chance is touched
    ids = torch.randint(model.config.vocab_size, (1, tokens), generator=generator)
    types = (torch.arange(tokens) >= min(QUESTION, tokens // 2)).long()[None]
    types = types.clamp(max=model.config.type_vocab_size - 1)  # RoBERTa has one
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}
    device = getattr(model, "device", None)
    on_accelerator = isinstance(device, torch.device) and device.type != "cpu"
    if on_accelerator:
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}

    def call(index: int) -> None:
        with torch.inference_mode():
            model(**inputs, length_config=budgets[index].length_config or FULL)
        if on_accelerator:  # a call returns before it is done
            torch.get_device_module(device).synchronize(device)

    return measure_latencies(call, range(len(budgets)))
