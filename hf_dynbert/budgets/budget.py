# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Measured budgets: the record, which budgets a search keeps and names, and the choice of one by a requirement."""

import logging
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


NAMED_LOSSES = {"accurate": 0.002, "balanced": 0.01, "fast": 0.03}  # largest loss of each name, as a share of full's score
MAX_LOSS = 0.06  # the search tries to stay within this loss; a budget that lost more is chosen only on request
F1 = "f1"  # metric of question answering; its entries have `f1` and `f1_error` in place of `score` and `score_error`

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """A length configuration and its measurements.

    Args:
        name (`str`): name in `config.budgets`.
        length_config (`list` or `None`): one entry for each layer; `None` keeps all tokens.
        score (`float`): primary metric on `sample`, usually in percent.
        macs (`float`): multiply-accumulates of an example, mean over `sample`, real tokens only.
        latency_ms (`float`, *optional*): milliseconds at batch 1 for an input of `tokens`, on `machine` with `runtime`.
        tokens (`int`, *optional*): real tokens of the timed input.
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

    @property
    def is_full(self) -> bool:
        """Whether this is full length: all tokens, all layers."""
        return self.length_config is None and self.layers is None

    @property
    def f1(self) -> float:
        """The score, under the name of question answering's metric."""
        return self.score

    @property
    def f1_error(self) -> float | None:
        """The score's error, under the name of question answering's metric."""
        return self.score_error

    def entry(self) -> dict:
        """Returns the value for `config.budgets`."""
        fields = {name: value for name, value in vars(self).items() if name != "name"}
        if self.metric == F1:
            del fields["metric"]
            fields["f1"], fields["f1_error"] = fields.pop("score"), fields.pop("score_error")
        if self.layers is None:
            del fields["layers"]
        if not self.point:
            del fields["point"]
        return fields

    @classmethod
    def read(cls, name: str, entry) -> "Budget | None":
        """Returns the budget of a `config.budgets` entry, or `None` if the entry has no measurements."""
        if not isinstance(entry, dict):
            return None
        fields = {field: entry[field] for field in cls.__dataclass_fields__ if entry.get(field) is not None}
        fields |= {"name": name, "length_config": entry.get("length_config")}
        if entry.get("f1") is not None:
            fields |= {"score": entry["f1"], "score_error": entry.get("f1_error"), "metric": F1}
        return cls(**fields) if "score" in fields and "macs" in fields else None


def keep_budgets(found: Sequence[Budget], full: Budget) -> list[Budget]:
    """Returns the budgets that no other budget beats in both latency and score, fastest first.

    A budget that is no faster than full length is left out with a warning.
    """
    slow = [budget for budget in found if not budget.is_full and budget.latency_ms >= full.latency_ms]
    for budget in slow:
        logger.warning(
            f"{budget.length_config} takes {budget.latency_ms:.2f} ms, full length {full.latency_ms:.2f} ms: left out."
        )
    kept = []
    for budget in sorted([full, *found], key=lambda candidate: (candidate.latency_ms, -candidate.score)):
        if budget not in slow and (not kept or budget.score > kept[-1].score):
            kept.append(budget)
    return kept


def standard_error(scores: Sequence[float], full_scores: Sequence[float]) -> float:
    """Returns the standard error of the mean difference between two scores of the same examples, `(Q,)` each.

    The scores are paired: both rise and fall with the difficulty of an example, and only their differences count.
    """
    differences = [score - full for score, full in zip(scores, full_scores, strict=True)]
    return statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else math.inf


def name_budgets(
    found: Sequence[Budget], full: Budget, trusted: Callable[[Budget], float] = lambda budget: 1.0
) -> dict[str, Budget]:
    """Selects the budgets `accurate`, `balanced` and `fast`: the fastest that lose at most 0.2, 1 and 3 % of the score.

    `trusted` takes a budget and returns the share of full length's score that it retains by a second measurement. The best
    of many candidates may look good by chance, so a name needs both measurements. A name that no budget meets is left out.
    """
    order = sorted((budget for budget in found if not budget.is_full), key=lambda budget: budget.latency_ms)
    named = {}
    for name, loss in NAMED_LOSSES.items():
        good = (budget for budget in order if budget.score >= (1 - loss) * full.score and trusted(budget) >= 1 - loss)
        if (fastest := next(good, None)) is not None:
            named[name] = fastest
    return named


def choose_budget(
    budgets: Sequence[Budget],
    max_latency_ms: float | None = None,
    max_macs: float | None = None,
    min_f1: float | None = None,
    speedup: float | None = None,
    min_score: float | None = None,
    max_loss: float | None = None,
    nearest: bool = False,
) -> Budget:
    """Selects the budget that meets a requirement.

    Args:
        budgets (`list[Budget]`): measured budgets, with full length among them.
        max_latency_ms (`float`, *optional*): largest latency of a call, in milliseconds.
        max_macs (`float`, *optional*): largest number of multiply-accumulates.
        min_f1 (`float`, *optional*): `min_score` under the name of question answering's metric.
        speedup (`float`, *optional*): least speedup over full length.
        min_score (`float`, *optional*): least score, in the unit of the budgets' metric (percent for F1 and accuracy).
        max_loss (`float`, *optional*): largest share of full length's score that a budget may have lost. The default is
            0.06 without `min_score`, and no limit with it.
        nearest (`bool`, *optional*, defaults to `False`): if no budget meets the requirement, select the fastest budget
            within `min_score` and `max_loss`, or the budget with the best score where `min_score` cannot be met either.

    Returns:
        `Budget`: of the budgets that fit, the one with the highest score; with `min_score` or `max_loss` alone the fastest.

    Raises:
        ValueError: no requirement, an impossible one, no measured budget, or no budget that fits. The error lists the
            budgets.
    """
    if min_f1 is not None and min_score is not None:
        raise ValueError(
            f"min_f1={min_f1} and min_score={min_score} are one requirement; give one, for example min_score=72."
        )
    wanted = {"max_latency_ms": max_latency_ms, "max_macs": max_macs, "speedup": speedup, "min_f1": min_f1}
    wanted |= {"min_score": min_score, "max_loss": max_loss}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    _check_requirement(wanted)
    if not budgets:
        raise ValueError(
            "This model has no measured budgets. hf-dynbert search finds them; length_config=[...] works without."
        )
    least = min_score if min_f1 is None else min_f1
    full = next((budget for budget in budgets if budget.is_full), None)
    reference = full.score if full is not None else max(budget.score for budget in budgets)
    if max_loss is None:
        max_loss = MAX_LOSS if least is None else 1.0
    good, fast, fitting = [], [], []
    for budget in budgets:
        is_good = budget.score >= (1 - max_loss) * reference and (least is None or budget.score >= least)
        is_fast = _is_fast_enough(budget, full, max_latency_ms, max_macs, speedup)
        for belongs, group in ((is_good, good), (is_fast, fast), (is_good and is_fast, fitting)):
            if belongs:
                group.append(budget)
    if fitting and wanted.keys() <= {"min_f1", "min_score", "max_loss"}:
        return min(fitting, key=_cost)
    if fitting:
        return max(fitting, key=lambda budget: (budget.score, -budget.macs))
    if nearest and good:
        return min(good, key=_cost)
    if nearest:
        return max(budgets, key=lambda budget: (budget.score, -budget.macs))
    requirement = ", ".join(f"{name}={value}" for name, value in wanted.items())
    excluded = [budget for budget in fast if budget not in good and least is None]
    hint = (
        f" {_described(excluded)} would, but lost more than {100 * max_loss:g} % of the score at full length; max_loss=... "
        "allows them."
        if excluded
        else ""
    )
    raise ValueError(
        f"No budget of this model gives {requirement}. It has: {_described(budgets)}.{hint} nearest=True takes the nearest."
    )


def _check_requirement(wanted: dict[str, float]) -> None:
    """Refuses requirements that no number can meet."""
    if not wanted:
        raise ValueError("Give a requirement: max_latency_ms=20, max_macs=1e9, min_score=72, max_loss=0.03 or speedup=2.")
    for name, value in wanted.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} is {value!r}; valid are finite numbers from 0 on, for example speedup=2.")
    if wanted.get("max_loss", 0) > 1:
        raise ValueError(f"max_loss is {wanted['max_loss']}; valid are shares from 0 to 1, for example 0.03.")


def _is_fast_enough(budget: Budget, full: Budget | None, max_latency_ms, max_macs, speedup) -> bool:
    if max_latency_ms is not None and (budget.latency_ms is None or budget.latency_ms > max_latency_ms):
        return False
    if max_macs is not None and budget.macs > max_macs:
        return False
    return speedup is None or _speedup(budget, full) >= speedup


def _speedup(budget: Budget, full: Budget | None) -> float:
    """Speedup over full length; 0 if one of the latencies is unknown."""
    if full is None or not budget.latency_ms or not full.latency_ms:
        return 0.0
    return full.latency_ms / budget.latency_ms


def _cost(budget: Budget) -> tuple[float, float]:
    """Latency where it is known, then the operations; among equals the better score is cheaper."""
    return budget.latency_ms if budget.latency_ms is not None else budget.macs, -budget.score


def _described(budgets: Sequence[Budget]) -> str:
    described = []
    for budget in budgets:
        metric = "F1" if budget.metric == F1 else budget.metric
        latency = "" if budget.latency_ms is None else f" in {budget.latency_ms:.1f} ms"
        described.append(f"{budget.name} {metric} {budget.score:.1f}{latency} ({budget.macs / 1e9:.2f} G MACs)")
    return "; ".join(described)
