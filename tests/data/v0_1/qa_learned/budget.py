# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Measured budgets: which to name, and which one a person means who asks for a latency, a cost or an accuracy."""

import logging
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass


NAMED_LOSSES = {"accurate": 0.002, "balanced": 0.01, "fast": 0.03}  # most that each loses of full length's F1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """A length configuration and what was measured of it.

    Args:
        name (`str`): its name in `config.budgets`.
        length_config (`list` or `None`): one entry a layer; `None` keeps all tokens.
        f1 (`float`): percent, on `sample`.
        macs (`float`): multiply-accumulates of an example, mean over `sample`, real tokens only.
        latency_ms (`float`, *optional*): at batch 1, for an input of `tokens`, on `machine` with `runtime`.
        tokens (`int`, *optional*): real tokens of the input that was timed.
        machine, runtime (`str`, *optional*): what it was timed on, and in.
        sample (`str`, *optional*): which questions.
        f1_error (`float`, *optional*): standard error of what it loses of full length's F1, over those questions.
    """

    name: str
    length_config: list[int | float] | None
    f1: float
    macs: float
    latency_ms: float | None = None
    tokens: int | None = None
    machine: str | None = None
    runtime: str | None = None
    sample: str | None = None
    f1_error: float | None = None

    def entry(self) -> dict:
        """As `config.budgets` has it."""
        return {name: value for name, value in asdict(self).items() if name != "name"}

    @classmethod
    def read(cls, name: str, entry) -> "Budget | None":
        """One of `config.budgets`, if it was measured."""
        if not isinstance(entry, dict) or entry.get("f1") is None or entry.get("macs") is None:
            return None
        return cls(name=name, **{field: entry.get(field) for field in cls.__dataclass_fields__ if field != "name"})


def keep_budgets(found: Sequence[Budget], full: Budget) -> list[Budget]:
    """Leaves out what is no faster than full length, with a warning, and what another beats.

    Args:
        found (`list[Budget]`): measured budgets.
        full (`Budget`): all tokens, measured beside them.

    Returns:
        `list[Budget]`: fastest first; F1 rises with latency. The last one is full length, unless a faster one is as good.
    """
    slow = [budget for budget in found if budget.length_config is not None and budget.latency_ms >= full.latency_ms]
    for budget in slow:
        logger.warning(
            f"{budget.length_config} takes {budget.latency_ms:.2f} ms, full length {full.latency_ms:.2f} ms: left out."
        )
    kept = []
    for budget in sorted([full, *found], key=lambda one: (one.latency_ms, -one.f1)):
        if budget not in slow and (not kept or budget.f1 > kept[-1].f1):
            kept.append(budget)
    return kept


def standard_error(own: Sequence[float], full: Sequence[float]) -> float:
    """Of the mean difference between two scores of the same questions: `(Q,)` each.

    Both rise and fall with how hard the questions are; only where they differ is there doubt which is the better.
    """
    differences = [mine - theirs for mine, theirs in zip(own, full, strict=True)]
    return statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else math.inf


def name_budgets(
    found: Sequence[Budget], full: Budget, trusted: Callable[[Budget], float] = lambda budget: 1.0
) -> dict[str, Budget]:
    """The three names that every searched model has.

    Args:
        found (`list[Budget]`): measured ones, faster than full length.
        full (`Budget`): all tokens.
        trusted (`Callable`, *optional*): from a budget to the part of full length's F1 that it can be trusted to keep, by
            more than its own measurement: of many the fastest with a good F1 are those that had luck. A name needs both.

    Returns:
        `dict[str, Budget]`: `accurate`, `balanced` and `fast`: the fastest that lose at most 0.2, 1 and 3 % of full length's
        F1. A name for which there is nothing faster than full length is left out.
    """
    order = sorted((one for one in found if one.length_config is not None), key=lambda one: one.latency_ms)
    named = {}
    for name, loss in NAMED_LOSSES.items():
        good = (one for one in order if one.f1 >= (1 - loss) * full.f1 and trusted(one) >= 1 - loss)
        if (fastest := next(good, None)) is not None:
            named[name] = fastest
    return named


def choose_budget(
    budgets: Sequence[Budget],
    max_latency_ms: float | None = None,
    max_macs: float | None = None,
    min_f1: float | None = None,
    speedup: float | None = None,
) -> Budget:
    """The budget that a person means.

    Args:
        budgets (`list[Budget]`): measured ones, full length among them.
        max_latency_ms (`float`, *optional*): most milliseconds of a call.
        max_macs (`float`, *optional*): most multiply-accumulates.
        min_f1 (`float`, *optional*): least F1, percent.
        speedup (`float`, *optional*): so many times as fast as full length, at least.

    Returns:
        `Budget`: of all that fit, the one with the highest F1; with `min_f1` alone the fastest.

    Raises:
        ValueError: nothing asked for, nothing measured, or nothing that fits; the error names the nearest there is.
    """
    asked = {"max_latency_ms": max_latency_ms, "max_macs": max_macs, "min_f1": min_f1, "speedup": speedup}
    asked = {name: value for name, value in asked.items() if value is not None}
    if not asked:
        raise ValueError("Ask for something: max_latency_ms=20, max_macs=1e9, min_f1=72 or speedup=2.")
    if not budgets:
        raise ValueError(
            "This model has no measured budgets. hf-dynbert search finds them; length_config=[...] works without."
        )
    limits = {
        "max_latency_ms": lambda budget, value: budget.latency_ms is not None and budget.latency_ms <= value,
        "max_macs": lambda budget, value: budget.macs <= value,
        "min_f1": lambda budget, value: budget.f1 >= value,
        "speedup": lambda budget, value: _speedup(budget, budgets) >= value,
    }
    fitting = [budget for budget in budgets if all(limits[name](budget, value) for name, value in asked.items())]
    if not fitting:
        wanted = ", ".join(f"{name}={value}" for name, value in asked.items())
        raise ValueError(f"No budget of this model gives {wanted}. It has: {'; '.join(map(_told, budgets))}.")
    if list(asked) == ["min_f1"]:
        return min(fitting, key=lambda budget: budget.latency_ms if budget.latency_ms is not None else budget.macs)
    return max(fitting, key=lambda budget: (budget.f1, -budget.macs))


def _speedup(budget: Budget, budgets: Sequence[Budget]) -> float:
    full = next((other for other in budgets if other.length_config is None), None)
    if full is None or not budget.latency_ms or not full.latency_ms:
        return 0.0
    return full.latency_ms / budget.latency_ms


def _told(budget: Budget) -> str:
    latency = "" if budget.latency_ms is None else f" in {budget.latency_ms:.1f} ms"
    return f"{budget.name} F1 {budget.f1:.1f}{latency} ({budget.macs / 1e9:.2f} G MACs)"
