# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Selects a budget of a model by latency, cost or score, in any runtime."""

import copy
import hashlib
import json
import logging
import math
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import constants

from ..configuration_dynamic_tinybert import FULL
from ..utils.atomic_files import replace_files
from ..utils.errors import check_number
from .budget import Budget, choose_budget, read_budgets
from .latency import machine_name, measure_repeatably, run_model


QUESTION = 14  # tokens of a question with CLS and SEP, as in SQuAD
SHORTEST = 16  # tokens; a shorter input costs the same, since runtimes pad it to a multiple of 16
MOST_SIZES = 4096  # sizes of inputs whose latencies are kept: all lengths to 512 at eight batch sizes
BATCH = 8  # examples of the call that measures what further examples of a batch cost
UNTIMED = ("budgets", "_name_or_path", "auto_map", "length_config")  # fields of a configuration that change no latency

logger = logging.getLogger(__name__)

_known_models = weakref.WeakKeyDictionary()  # model -> its `_TimedBudgets`
_lock = threading.Lock()  # guards `_known_models`


def runtime_name(model) -> str:
    """Returns name and version of the runtime that computes `model`, and the type of its weights."""
    if hasattr(model, "runtime_name"):  # an OpenVINO model
        return model.runtime_name
    kind = "int8" if getattr(model.config, "quantization_config", None) else str(model.dtype).removeprefix("torch.")
    place = ""
    if model.device.type != "cpu":
        place = f" on {torch.get_device_module(model.device).get_device_name(model.device)}"
    return f"PyTorch {torch.__version__} {kind}{place}"


def threads_of(model) -> int:
    """Returns the number of threads that one call of `model` uses."""
    return model.threads if hasattr(model, "threads") else torch.get_num_threads()


def choose_budget_of(
    model,
    *,
    max_latency_ms: float | None = None,
    max_macs: float | None = None,
    speedup: float | None = None,
    min_score: float | None = None,
    max_loss: float | None = None,
    tokens: int | None = None,
    batch_size: int = 1,
    nearest: bool = False,
    refresh: bool = False,
) -> list[int | float] | str:
    """Returns the budget that meets a requirement, for a call: `model(**inputs, budget=model.choose_budget(speedup=2))`.

    Latencies are those of this machine. Budgets that were measured elsewhere, or at another length or batch size, are timed
    here once; the latencies are stored in the cache of the Hub (`HF_HOME`) and kept in memory, so that later calls take
    microseconds. Threads may call this function at the same time.

    Args:
        model: a model with measured `config.budgets`.
        max_latency_ms (`float`, *optional*): largest latency of a call, in milliseconds.
        max_macs (`float`, *optional*): largest number of multiply-accumulates of an example, mean over the examples of the
            search.
        speedup (`float`, *optional*): least speedup over full length.
        min_score (`float`, *optional*): least score on the examples of the search, in the unit of the metric (percent for
            F1 and accuracy).
        max_loss (`float`, *optional*): largest share of full length's score that a budget may have lost. The default is
            0.06 without `min_score`, and no limit with it.
        tokens (`int`, *optional*): real tokens of each example of the call. The default is the length at which the budgets
            were measured.
        batch_size (`int`, *optional*, defaults to 1): examples of the call.
        nearest (`bool`, *optional*, defaults to `False`): if no budget meets the requirement, return the fastest budget
            within `min_score` and `max_loss` in place of an error.
        refresh (`bool`, *optional*, defaults to `False`): time the budgets again, in place of stored latencies.

    Returns:
        `list` or `str`: the length configuration with the highest score that fits, or the fastest where only a score is
        required; `"full"` where that is all tokens. A budget that leaves out layers is returned by its name.

    Raises:
        ValueError: no budget fits, the model has no measured budgets (see `hf-dynbert search`), or an impossible argument.
    """
    budgets = _budgets_of(model)
    candidates = budgets.measured
    by_cost = max_macs is not None and max_latency_ms is None and speedup is None  # decided without any latency
    if candidates and (refresh or not by_cost):
        candidates = budgets.timed(model, tokens, batch_size, refresh)
    chosen = choose_budget(candidates, max_latency_ms, max_macs, speedup, min_score, max_loss, nearest)
    if chosen.is_full:
        return FULL
    return chosen.name if chosen.layers is not None else list(chosen.length_config)


def _budgets_of(model) -> "_TimedBudgets":
    """The model's budgets with what was timed before, new ones if the configuration or the threads have changed."""
    state = (model.config.budgets, threads_of(model), runtime_name(model), model.config.importance)
    with _lock:
        known = _known_models.get(model)
        if known is None or known.state != state:
            known = _known_models[model] = _TimedBudgets(model, copy.deepcopy(state))
    return known


class _TimedBudgets:
    """The measured budgets of a model and their latencies on this machine.

    The latency of an input of n tokens is the parabola through three measured lengths; each further example of a batch adds
    a constant share of it. Only the lengths and batches that a caller needs are measured.

    Args:
        model: the model; no reference to it is kept.
        state (`tuple`): everything about the model that may change between calls.
    """

    def __init__(self, model, state: tuple):
        self.state, self.lock = state, threading.Lock()
        entries, threads, runtime, _ = state
        self.measured = read_budgets(entries)
        config = model.config
        self.least = config.min_tokens_to_drop  # shorter examples keep all tokens at every budget
        self.longest = config.max_tokens
        self.own_tokens = min(self.longest, max([budget.tokens or 1 for budget in self.measured], default=1))
        shortest = min(self.longest, max(SHORTEST, self.least))
        usual = self.own_tokens if shortest < self.own_tokens < self.longest else (shortest + self.longest) // 2
        self.lengths = sorted({shortest, usual, self.longest})  # latencies are interpolated over them
        # Tokens of the examples of the batch that is timed: enough to drop some, few enough to be quick
        self.batched_tokens = min(self.longest, max(SHORTEST, self.least, self.longest // 8))
        self.points: dict[tuple[int, int], list[float]] = {}  # (batch, tokens) -> milliseconds of each measured budget
        self.noisy: set[tuple[int, int]] = set()  # the points that no two rounds confirmed: they are not stored
        self.computed: dict[tuple[int, int], list[Budget]] = {}  # (batch, tokens) -> the budgets with their latencies
        machine = machine_name(threads)
        if all((budget.machine, budget.runtime, budget.batch_size) == (machine, runtime, 1) for budget in self.measured):
            self.computed[1, self.own_tokens] = self.measured  # the search ran on this machine
        lengths = {budget.name: [budget.length_config, budget.layers] for budget in self.measured}
        self.about = {"machine": machine, "runtime": runtime, "model": type(model).__name__, "budgets": lengths}
        settings = {name: value for name, value in config.to_dict().items() if name not in UNTIMED}
        key = json.dumps([*self.about.values(), json.dumps(settings, sort_keys=True, default=str)])
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        self.path = Path(constants.HF_HOME) / "hf_dynbert" / f"latency-{digest}.json"

    def timed(self, model, tokens: int | None, batch_size: int, refresh: bool) -> list[Budget]:
        """The budgets with their latencies at this length and batch size."""
        tokens = self.own_tokens if tokens is None else tokens
        check_number("tokens", tokens, 1, self.longest, example=self.own_tokens, whole=True)
        check_number("batch_size", batch_size, 1, example=BATCH, whole=True)
        size = (batch_size, tokens)
        budgets = None if refresh else self.computed.get(size)
        if budgets is None:
            with self.lock:  # one thread measures, the others wait
                if refresh:
                    self.points, self.noisy, self.computed = {}, set(), {}
                else:
                    self._read()  # another process may have measured meanwhile
                self._measure(model, *size)
                latencies = self._latencies(*size)
                budgets = [replace(budget, latency_ms=ms) for budget, ms in zip(self.measured, latencies, strict=True)]
                if len(self.computed) >= MOST_SIZES:
                    self.computed = {}
                self.computed[size] = budgets
        return budgets

    def _latencies(self, batch_size: int, tokens: int) -> list[float]:
        """Milliseconds of each budget, from the measured points."""
        if (1, tokens) in self.points:
            latencies = np.array(self.points[1, tokens])
        else:
            inside = min(max(tokens, self.lengths[0]), self.lengths[-1])
            table = np.array([self.points[1, length] for length in self.lengths])  # (lengths, budgets)
            coefficients = np.polyfit(self.lengths, table, len(self.lengths) - 1)
            latencies = np.maximum(np.vander([inside], len(self.lengths)) @ coefficients, table.min(axis=0))[0]
        if batch_size > 1:
            alone, together = (np.array(self.points[batch, self.batched_tokens]) for batch in (1, BATCH))
            latencies = latencies * (1 + (batch_size - 1) * np.maximum(0, together / alone - 1) / (BATCH - 1))
        if tokens < self.least:
            full = [latency for latency, budget in zip(latencies, self.measured, strict=True) if budget.is_full]
            latencies[:] = full[0] if full else max(latencies)
        return latencies.tolist()

    def _measure(self, model, batch_size: int, tokens: int) -> None:
        """Times the points that this size is computed from and that are missing, and stores what two rounds confirmed."""
        needed = {(1, tokens)} if tokens == self.own_tokens else {(1, length) for length in self.lengths}
        if batch_size > 1:
            needed |= {(1, self.batched_tokens), (BATCH, self.batched_tokens)}
        missing = sorted(needed - self.points.keys())
        if not missing:
            return
        for point in missing:
            self.points[point], confirmed = _time(model, self.measured, *point)
            if not confirmed:
                self.noisy.add(point)
        stored = f"; stored in {self.path}" if self.points.keys() - self.noisy and self._store() else ""
        logger.warning(
            f"Timed {len(self.measured)} budgets at {_shown(missing)} on this machine ({self.about['machine']}){stored}."
        )
        if noisy := [point for point in missing if point in self.noisy]:
            logger.warning(
                f"This machine is busy: latencies at {_shown(noisy)} differ from round to round. They are used in this "
                "process and not stored. Call choose_budget(..., refresh=True) when the machine is quiet."
            )

    def _read(self) -> None:
        """Adds the points of the file. A file that is missing or damaged only costs time."""
        try:
            for point in json.loads(self.path.read_text(encoding="utf-8"))["points"]:
                latencies = [float(point["latency_ms"][budget.name]) for budget in self.measured]
                if all(0 < latency < math.inf for latency in latencies):
                    self.points.setdefault((int(point["batch_size"]), int(point["tokens"])), latencies)
        except (OSError, KeyError, TypeError, ValueError):
            return

    def _store(self) -> bool:
        """Writes the points to the file; returns whether that was possible."""
        names, points = [budget.name for budget in self.measured], []
        for batch_size, tokens in sorted(self.points.keys() - self.noisy):
            latencies = dict(zip(names, self.points[batch_size, tokens], strict=True))
            points.append({"batch_size": batch_size, "tokens": tokens, "latency_ms": latencies})
        try:
            with replace_files(self.path.parent) as folder:
                (folder / self.path.name).write_text(json.dumps(self.about | {"points": points}, indent=1), encoding="utf-8")
        except OSError as error:
            logger.warning(f"Latencies could not be stored in {self.path.parent}: {error}")
            return False
        return True


def _shown(points: list[tuple[int, int]]) -> str:
    return ", ".join(f"{batch_size} x {tokens}" for batch_size, tokens in points) + " tokens"


def _time(model, budgets: list[Budget], batch_size: int, tokens: int) -> tuple[list[float], bool]:
    """Milliseconds of each budget for a batch of inputs of this many tokens, and whether two rounds agreed."""
    generator = torch.Generator().manual_seed(0)  # of its own, so that the caller's random numbers stay the same
    ids = torch.randint(model.config.vocab_size, (1, tokens), generator=generator).repeat(batch_size, 1)
    types = (torch.arange(tokens) >= min(QUESTION, tokens // 2)).long().repeat(batch_size, 1)
    types = types.clamp(max=model.config.type_vocab_size - 1)  # RoBERTa has one type
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}
    return measure_repeatably(lambda name: run_model(model, inputs, budget=name), [budget.name for budget in budgets])
