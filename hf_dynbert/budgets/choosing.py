# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Selects a budget of a model by latency, cost or score, in any runtime."""

import copy
import json
import logging
import math
import threading
import weakref
from dataclasses import replace

import numpy as np
import torch

from ..configuration_dynamic_tinybert import FULL
from .budget import Budget, choose_budget
from .latency import load_measured, machine_name, measure_repeatably, store_measured, store_path


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
    max_latency_ms: float | None = None,
    max_macs: float | None = None,
    min_f1: float | None = None,
    speedup: float | None = None,
    *,
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
        min_f1 (`float`, *optional*): `min_score` under the name of question answering's metric.
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
    by_cost = max_macs is not None and max_latency_ms is None and speedup is None  # decided without any latency
    if budgets.measured and (refresh or not by_cost):
        timed = budgets.timed(model, tokens, batch_size, refresh)
    else:
        timed = budgets.measured
    chosen = choose_budget(timed, max_latency_ms, max_macs, min_f1, speedup, min_score, max_loss, nearest)
    if chosen.is_full:
        return FULL
    return chosen.name if chosen.layers is not None else list(chosen.length_config)


def measured_latencies(model, tokens: int, batch_size: int = 1) -> dict[str, float]:
    """Milliseconds of a call at each measured budget on this machine, by name, the cheapest first; see `choose_budget_of`.

    Args:
        model: a model with measured `config.budgets`.
        tokens (`int`): tokens of each example of the call.
        batch_size (`int`, *optional*, defaults to 1): examples of the call.

    Raises:
        ValueError: the model has no measured budgets.
    """
    budgets = _budgets_of(model)
    if not budgets.measured:
        raise ValueError("This model has no measured budgets. hf-dynbert search finds them.")
    timed = budgets.timed(model, tokens, batch_size, refresh=False)
    return {budget.name: budget.latency_ms for budget in sorted(timed, key=lambda budget: budget.macs)}


def _budgets_of(model) -> "_TimedBudgets":
    """The model's budgets with what was timed before, new ones if the configuration or the threads have changed."""
    state = (model.config.budgets, threads_of(model), runtime_name(model), getattr(model.config, "importance", None))
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
        entries, threads, self.runtime, _ = state
        read = [Budget.read(name, entry) for name, entry in (entries or {}).items()]
        self.measured = [budget for budget in read if budget is not None]
        self.machine = machine_name(threads)
        config = model.config
        settings = {name: value for name, value in config.to_dict().items() if name not in UNTIMED}
        self.least = getattr(config, "min_tokens_to_drop", 0)  # shorter examples keep all tokens at every budget
        self.longest = config.max_position_embeddings - getattr(config, "position_ids_start", 0)
        self.own_tokens = min(self.longest, max([budget.tokens or 1 for budget in self.measured], default=1))
        self.here = all((budget.machine, budget.runtime) == (self.machine, self.runtime) for budget in self.measured)
        lengths = {budget.name: [budget.length_config, budget.layers] for budget in self.measured}
        about = {"machine": self.machine, "runtime": self.runtime, "model": type(model).__name__, "budgets": lengths}
        self.about = about
        self.path = store_path([*about.values(), json.dumps(settings, sort_keys=True, default=str)])
        self.points: dict[tuple[int, int], list[float]] = {}  # (batch, tokens) -> milliseconds of each measured budget
        self.computed: dict[tuple[int, int], tuple] = {}  # (tokens, batch) -> the points and the budgets computed from them
        self.stored: set[tuple[int, int]] = set()  # the points that two rounds confirmed: only those go to the file
        self._read()

    def timed(self, model, tokens: int | None, batch_size: int, refresh: bool) -> list[Budget]:
        """The budgets with their latencies at this length and batch size."""
        for name, value, most in (("tokens", tokens, self.longest), ("batch_size", batch_size, None)):
            if name == "tokens" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most is not None and value > most):
                valid = "integers from 1 on" if most is None else f"integers from 1 to {most}"
                raise ValueError(f"{name} is {value!r}; valid are {valid}, for example choose_budget(speedup=2, {name}=8).")
        usual = batch_size == 1 and tokens in (None, self.own_tokens)
        tokens = self.own_tokens if tokens is None else tokens
        needed, points = self._needed(tokens, batch_size), self.points
        if not refresh and usual and self.here and not needed <= points.keys():
            return self.measured  # the search ran on this machine
        if refresh or not needed <= points.keys():
            points = self._measure(model, needed, refresh)
        computed_from, budgets = self.computed.get((tokens, batch_size), (None, []))
        if computed_from is not points:
            budgets = self._with_latencies(points, tokens, batch_size)
            if len(self.computed) >= MOST_SIZES:
                self.computed = {}
            self.computed[tokens, batch_size] = points, budgets
        return budgets

    def _with_latencies(self, points: dict, tokens: int, batch_size: int) -> list[Budget]:
        """The budgets with latencies that are computed from these points."""
        latencies = self._latencies(points, tokens, batch_size)
        if tokens < self.least:
            full = [latency for latency, budget in zip(latencies, self.measured, strict=True) if budget.is_full]
            latencies = [full[0] if full else max(latencies)] * len(latencies)
        place = {"machine": self.machine, "runtime": self.runtime, "tokens": tokens}
        return [
            replace(budget, latency_ms=latency, **place) for budget, latency in zip(self.measured, latencies, strict=True)
        ]

    def _lengths(self) -> list[int]:
        """Three lengths, over which latencies are interpolated: the shortest that drops tokens, the usual, the longest."""
        shortest = min(self.longest, max(SHORTEST, self.least))
        usual = self.own_tokens if shortest < self.own_tokens < self.longest else (shortest + self.longest) // 2
        return sorted({shortest, usual, self.longest})

    def _needed(self, tokens: int, batch_size: int) -> set[tuple[int, int]]:
        """The points that this length and batch size are computed from."""
        needed = {(1, tokens)} if tokens == self.own_tokens else {(1, length) for length in self._lengths()}
        if batch_size > 1:
            needed |= {(1, self._batched_tokens), (BATCH, self._batched_tokens)}
        return needed

    @property
    def _batched_tokens(self) -> int:
        """Tokens of the examples of the batch that is timed: enough to drop some, few enough to be quick."""
        return min(self.longest, max(SHORTEST, self.least, self.longest // 8))

    def _latencies(self, points: dict, tokens: int, batch_size: int) -> list[float]:
        """Milliseconds of each budget, from the measured points."""
        if (1, tokens) in points:
            latencies = np.array(points[1, tokens])
        else:
            lengths = self._lengths()
            inside = min(max(tokens, lengths[0]), lengths[-1])
            table = np.array([points[1, length] for length in lengths])  # (lengths, budgets)
            coefficients = np.polyfit(lengths, table, len(lengths) - 1)
            latencies = np.maximum(np.vander([inside], len(lengths)) @ coefficients, table.min(axis=0))[0]
        if batch_size > 1:
            alone, together = (np.array(points[batch, self._batched_tokens]) for batch in (1, BATCH))
            latencies = latencies * (1 + (batch_size - 1) * np.maximum(0, together / alone - 1) / (BATCH - 1))
        return latencies.tolist()

    def _measure(self, model, needed: set[tuple[int, int]], refresh: bool) -> dict[tuple[int, int], list[float]]:
        """Returns all points after reading the file and timing the missing ones; one thread does, the others wait."""
        with self.lock:
            if refresh:
                self.points, self.stored = {}, set()
            else:
                self._read()  # another thread or process may have measured meanwhile
            missing = sorted(needed - self.points.keys())
            if not missing:
                return self.points
            noisy = []
            for batch, tokens in missing:
                latencies, quiet = _time(model, self.measured, batch, tokens)
                if quiet:
                    self.stored.add((batch, tokens))
                else:
                    noisy.append(f"{batch} x {tokens} tokens")
                self.points = self.points | {(batch, tokens): latencies}  # replaced, since other threads may read it
            shown = ", ".join(f"{batch} x {tokens}" for batch, tokens in missing)
            stored = store_measured(self.path, self._content()) if self.stored else False
            where = f"; stored in {self.path}" if stored else ""
            logger.warning(f"Timed {len(self.measured)} budgets at {shown} tokens on this machine ({self.machine}){where}.")
            if noisy:
                logger.warning(
                    f"This machine is busy: latencies at {', '.join(noisy)} differ from round to round. They are used in "
                    "this process and not stored. Call choose_budget(..., refresh=True) when the machine is quiet."
                )
            return self.points

    def _read(self) -> None:
        """Adds the points of the file; a file of another form is as good as none."""
        content = load_measured(self.path) or {}
        try:
            found = {}
            for point in content["points"]:
                latencies = [float(point["latency_ms"][budget.name]) for budget in self.measured]
                if not all(0 < latency < math.inf for latency in latencies):
                    return
                found[int(point["batch_size"]), int(point["tokens"])] = latencies
        except (KeyError, TypeError, ValueError):
            return
        self.points = found | self.points
        self.stored |= found.keys()

    def _content(self) -> dict:
        """What the file has."""
        names = [budget.name for budget in self.measured]
        points = [
            {"batch_size": batch, "tokens": tokens, "latency_ms": dict(zip(names, self.points[batch, tokens], strict=True))}
            for batch, tokens in sorted(self.stored)
        ]
        return self.about | {"points": points}


def _time(model, budgets: list[Budget], batch: int, tokens: int) -> tuple[list[float], bool]:
    """Milliseconds of each budget for a batch of inputs of this many tokens, and whether two rounds agreed."""
    generator = torch.Generator().manual_seed(0)  # of its own, so that the caller's random numbers stay the same
    ids = torch.randint(model.config.vocab_size, (1, tokens), generator=generator).repeat(batch, 1)
    types = (torch.arange(tokens) >= min(QUESTION, tokens // 2)).long().repeat(batch, 1)
    types = types.clamp(max=model.config.type_vocab_size - 1)  # RoBERTa has one type
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": types}
    device = getattr(model, "device", None)
    on_accelerator = isinstance(device, torch.device) and device.type != "cpu"
    if on_accelerator:
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}

    def call(name: str) -> None:
        with torch.inference_mode():
            model(**inputs, budget=name)
        if on_accelerator:  # a call returns before the result is there
            torch.get_device_module(device).synchronize(device)

    return measure_repeatably(call, [budget.name for budget in budgets])
