# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Measured budgets: the record, and the choice of one by a requirement."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ..utils.errors import check_number


MAX_LOSS = 0.06  # the search tries to stay within this loss; a budget that lost more is chosen only on request
F1 = "f1"  # metric of question answering; its entries have `f1` and `f1_error` in place of `score` and `score_error`
# Measured values of an entry and their limits
MEASURED = {"macs": {"above": 0}, "latency_ms": {"above": 0}, "tokens": {"least": 1}}
MEASURED |= {"score": {}, "score_error": {"least": 0}, "f1": {}, "f1_error": {"least": 0}}
EXAMPLES = {"max_latency_ms": 20, "max_macs": 1e9, "speedup": 2, "min_score": 72, "max_loss": 0.03}  # in errors


@dataclass(frozen=True)
class Budget:
    """A length configuration and its measurements.

    Args:
        name (`str`): name in `config.budgets`.
        length_config (`list` or `None`): one entry for each layer; `None` keeps all tokens.
        score (`float`): primary metric on `sample`, usually in percent.
        macs (`float`): multiply-accumulates of an example, mean over `sample`, real tokens only.
        latency_ms (`float`, *optional*): milliseconds of an input of `tokens` real tokens, on `machine` with `runtime`.
        tokens, batch_size (`int`, *optional*): real tokens of a timed input, and inputs of a timed call.
        machine, runtime (`str`, *optional*): where the latency was measured.
        sample (`str`, *optional*): the examples, in words.
        score_error (`float`, *optional*): standard error of the difference to the score at full length.
        metric (`str`, *optional*, defaults to `"f1"`): name of the metric.
        layers (`list[int]`, *optional*): the layers that run; `None` runs all.
        point (`bool`, *optional*, defaults to `False`): whether a search saved this as an unnamed point of its front.
    """

    name: str
    length_config: list[int | float] | None
    score: float
    macs: float
    latency_ms: float | None = None
    tokens: int | None = None
    machine: str | None = None
    runtime: str | None = None
    sample: str | None = None
    score_error: float | None = None
    metric: str = F1
    layers: list[int] | None = None
    point: bool = False
    batch_size: int = 1

    @property
    def metric_label(self) -> str:
        """The name of the metric in tables and messages."""
        return "F1" if self.metric == F1 else self.metric

    @property
    def is_full(self) -> bool:
        """Whether this is full length: all tokens, all layers."""
        return self.length_config is None and self.layers is None

    def entry(self) -> dict:
        """Returns the value for `config.budgets`."""
        entry = asdict(self)
        del entry["name"]
        if self.metric == F1:
            del entry["metric"]
            entry["f1"], entry["f1_error"] = entry.pop("score"), entry.pop("score_error")
        for name in ("layers", "point", "batch_size"):
            if entry[name] == getattr(Budget, name):
                del entry[name]
        return entry

    @classmethod
    def read(cls, name: str, entry) -> "Budget | None":
        """Returns the budget of a `config.budgets` entry, or `None` if the entry has no measurements.

        Raises:
            ValueError: a measured value that is no finite number.
        """
        if not isinstance(entry, dict):
            return None
        for field, limits in MEASURED.items():
            if entry.get(field) is not None:
                check_number(f'budgets["{name}"]["{field}"]', entry[field], **limits)
        fields = {field: entry[field] for field in cls.__dataclass_fields__ if entry.get(field) is not None}
        if entry.get("f1") is not None:
            fields |= {"score": entry["f1"], "score_error": entry.get("f1_error"), "metric": F1}
        if "score" not in fields or "macs" not in fields:
            return None
        return cls(**{"length_config": None} | fields | {"name": name})


def read_budgets(budgets) -> list[Budget]:
    """Returns the measured budgets of `config.budgets`.

    Raises:
        ValueError: a measured value that is no finite number.
    """
    read = [Budget.read(name, entry) for name, entry in budgets.items()] if isinstance(budgets, dict) else []
    return [budget for budget in read if budget is not None]


def choose_budget(
    budgets: Sequence[Budget],
    max_latency_ms: float | None = None,
    max_macs: float | None = None,
    speedup: float | None = None,
    min_score: float | None = None,
    max_loss: float | None = None,
    nearest: bool = False,
) -> Budget:
    """Returns the budget that meets a requirement; see [`~hf_dynbert.budgets.choosing.choose_budget_of`] for the arguments.

    If no budget meets it, `nearest` returns the fastest budget within `min_score` and `max_loss`, or the best budget if no
    budget is within them either.

    Raises:
        ValueError: no requirement, an impossible one, no measured budget, or no budget that fits. The error lists the
            budgets.
    """
    limits = {"max_latency_ms": max_latency_ms, "max_macs": max_macs, "speedup": speedup}
    limits |= {"min_score": min_score, "max_loss": max_loss}
    wanted = {name: value for name, value in limits.items() if value is not None}
    if not wanted:
        raise ValueError("Give a requirement: max_latency_ms=20, max_macs=1e9, min_score=72, max_loss=0.03 or speedup=2.")
    for name, value in wanted.items():
        check_number(name, value, 0, 1 if name == "max_loss" else None, example=EXAMPLES[name])
    if not budgets:
        raise ValueError(
            "This model has no measured budgets. hf-dynbert search finds them; length_config=[...] works without."
        )
    full = next((budget for budget in budgets if budget.is_full), None)
    reference = full.score if full is not None else max(budget.score for budget in budgets)
    if max_loss is None:
        max_loss = MAX_LOSS if min_score is None else 1.0
    least = max((1 - max_loss) * reference, -math.inf if min_score is None else min_score)
    good = [budget for budget in budgets if budget.score >= least]
    fast = [budget for budget in budgets if _is_fast_enough(budget, full, max_latency_ms, max_macs, speedup)]
    fitting = [budget for budget in good if budget in fast]
    if fitting and wanted.keys() <= {"min_score", "max_loss"}:
        return min(fitting, key=_cost)
    if fitting:
        return max(fitting, key=_quality)
    if nearest:
        return min(good, key=_cost) if good else max(budgets, key=_quality)
    hint = ""
    if fast and min_score is None:  # none of them is good
        hint = f" {_described(fast)} would, but lost more than {100 * max_loss:g} % of the score at full length; "
        hint += "max_loss=... allows them."
    requirement = ", ".join(f"{name}={value}" for name, value in wanted.items())
    raise ValueError(
        f"No budget of this model gives {requirement}. It has: {_described(budgets)}.{hint} nearest=True takes the nearest."
    )


def _is_fast_enough(budget: Budget, full: Budget | None, max_latency_ms, max_macs, speedup) -> bool:
    if max_latency_ms is not None and (budget.latency_ms is None or budget.latency_ms > max_latency_ms):
        return False
    if max_macs is not None and budget.macs > max_macs:
        return False
    if speedup is None:
        return True
    is_timed = full is not None and full.latency_ms and budget.latency_ms
    return bool(is_timed) and full.latency_ms / budget.latency_ms >= speedup


def _cost(budget: Budget) -> tuple[float, float]:
    """Latency where it is known, then the operations; among equals the better score is cheaper."""
    return budget.latency_ms if budget.latency_ms is not None else budget.macs, -budget.score


def _quality(budget: Budget) -> tuple[float, float]:
    """Score; among equals the cheaper budget is better."""
    return budget.score, -budget.macs


def _described(budgets: Sequence[Budget]) -> str:
    described = []
    for budget in budgets:
        latency = "" if budget.latency_ms is None else f" in {budget.latency_ms:.1f} ms"
        described.append(f"{budget.name} {budget.metric_label} {budget.score:.1f}{latency} ({budget.macs / 1e9:.2f} G MACs)")
    return "; ".join(described)
