# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The results of a search: which budgets are saved under which names, and their table."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...configuration_dynamic_tinybert import FULL
from ..budget import Budget
from .pareto import pareto_front


NAMED_LOSSES = {"accurate": 0.002, "balanced": 0.01, "fast": 0.03}  # largest loss of each name, as a share of full's score

logger = logging.getLogger(__name__)


def select_budgets(
    full: Budget, found: Sequence[Budget], max_loss: float, retained: Callable[[Sequence], float]
) -> dict[str, Budget]:
    """Selects the budgets to save, by name: full length, the named budgets, and the other points of the front.

    A budget is on the front if it is faster than full length and no other budget beats it in both latency and score.

    Args:
        full ([`Budget`]): full length.
        found (`list[Budget]`): the measured configurations.
        max_loss (`float`): largest share of full length's score that a saved budget may have lost.
        retained (`Callable`): see [`name_budgets`].
    """
    allowed = [budget for budget in found if budget.score >= (1 - max_loss) * full.score]
    for budget in allowed:
        if budget.latency_ms >= full.latency_ms:
            logger.warning(
                f"{budget.length_config} takes {budget.latency_ms:.2f} ms, full length {full.latency_ms:.2f} ms: left out."
            )
    faster = [budget for budget in allowed if budget.latency_ms < full.latency_ms]
    selected = {FULL: full}
    for name, budget in name_budgets(faster, full, retained).items():
        selected[name] = replace(budget, name=name)
    front = [faster[index] for index in pareto_front([(budget.latency_ms, budget.score) for budget in faster])]
    named = [budget.length_config for budget in selected.values()]
    points = [budget for budget in front if budget.length_config not in named]
    for number, budget in enumerate(points, start=1):
        selected[f"front-{number}"] = replace(budget, name=f"front-{number}", point=True)
    return selected


def name_budgets(faster: Sequence[Budget], full: Budget, retained: Callable[[Sequence], float]) -> dict[str, Budget]:
    """Selects the budgets `accurate`, `balanced` and `fast`: the fastest that lose at most 0.2, 1 and 3 % of the score.

    `retained` takes a length configuration and returns the share of full length's score that it retains by a second
    measurement. The best of many candidates may look good by chance, so a name needs both measurements.
    """
    named = {}
    for name, loss in NAMED_LOSSES.items():
        for budget in sorted(faster, key=lambda budget: budget.latency_ms):
            if budget.score >= (1 - loss) * full.score and retained(budget.length_config) >= 1 - loss:
                named[name] = budget
                break
        else:
            logger.warning(
                f"No configuration faster than full length meets the {100 * loss:g} % loss limit with 95 % confidence, so "
                f"there is no budget {name!r}."
            )
    return named


def result_rows(budgets: Mapping[str, Budget], test_scores: Mapping[str, float]) -> list[list[str]]:
    """Returns the table of a search: the headers, then the budgets, slowest first.

    Args:
        budgets (`dict[str, Budget]`): the saved budgets by name, see [`select_budgets`].
        test_scores (`dict[str, float]`): score of each budget on the test examples; empty if there are none.
    """
    full = budgets[FULL]
    metric = full.metric_label
    rows = [["budget", "length configuration", metric, f"{metric} lost", "MACs", "ms", "× full", f"test {metric}"]]
    for name, budget in sorted(budgets.items(), key=lambda pair: -pair[1].latency_ms):
        row = [
            name,
            ", ".join(str(entry) for entry in budget.length_config or []) or "all tokens",
            f"{budget.score:.2f}",
            _lost(budget, full),
            f"{100 * budget.macs / full.macs:.0f} %",
            f"{budget.latency_ms:.1f}",
            f"{full.latency_ms / budget.latency_ms:.2f}",
            f"{test_scores[name]:.2f}" if name in test_scores else "",
        ]
        rows.append(row)
    return rows


def _lost(budget: Budget, full: Budget) -> str:
    """The lost share of full length's score, with its standard error where that is known."""
    if not full.score:
        return "-"
    error = "" if budget.score_error is None else f" ± {100 * budget.score_error / full.score:.1f}"
    return f"{100 * (1 - budget.score / full.score):.1f}{error} %"
