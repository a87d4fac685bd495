# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""The results of a search: which budgets are saved under which names, and their tables."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...configuration_dynamic_tinybert import FULL
from ..budget import Budget
from .evaluator import Kind, Measurement
from .pareto import cost_at, pareto_front


NAMED_LOSSES = {"accurate": 0.002, "balanced": 0.01, "fast": 0.03}  # largest loss of each name, as a share of full's score
LOSSES = (0.002, 0.01, 0.02, 0.03)  # shares of full length's score, at which the front is compared with constant ratios
COMPARED = ("lost", "found: ms, of full", "constant ratios: ms", "found ÷ constant", "found: MACs", "constant ratios: MACs")

logger = logging.getLogger(__name__)


def keep_budgets(found: Sequence[Budget], full: Budget) -> list[Budget]:
    """Returns the budgets that no other budget beats in both latency and score, fastest first.

    A budget that is no faster than full length is left out with a warning.
    """
    candidates = [full]
    for budget in found:
        if budget.latency_ms < full.latency_ms:
            candidates.append(budget)
        else:
            logger.warning(
                f"{budget.length_config} takes {budget.latency_ms:.2f} ms, full length {full.latency_ms:.2f} ms: left out."
            )
    return [candidates[index] for index in pareto_front([(budget.latency_ms, budget.score) for budget in candidates])]


def name_budgets(found: Sequence[Budget], full: Budget, retained: Callable[[Sequence], float]) -> dict[str, Budget]:
    """Selects the budgets `accurate`, `balanced` and `fast`: the fastest that lose at most 0.2, 1 and 3 % of the score.

    `retained` takes a length configuration and returns the share of full length's score that it retains by a second
    measurement. The best of many candidates may look good by chance, so a name needs both measurements.
    """
    faster = sorted((one for one in found if one.latency_ms < full.latency_ms), key=lambda budget: budget.latency_ms)
    named = {}
    for name, loss in NAMED_LOSSES.items():
        for budget in faster:
            if budget.score >= (1 - loss) * full.score and retained(budget.length_config) >= 1 - loss:
                named[name] = budget
                break
        else:
            logger.warning(
                f"No configuration faster than full length meets the {100 * loss:g} % loss limit with 95 % confidence, so "
                f"there is no budget {name!r}."
            )
    return named


@dataclass(frozen=True)
class Selection:
    """The budgets that a search saves.

    Args:
        full ([`Budget`]): full length.
        saved (`list[Budget]`): the front and the named budgets, fastest first, under the names of `config.budgets`.
        named (`dict[str, Budget]`): `accurate`, `balanced` and `fast`, as far as there are such budgets. One budget may have
            several names.
    """

    full: Budget
    saved: list[Budget]
    named: dict[str, Budget]

    def entries(self) -> dict[str, dict]:
        """The values for `config.budgets`: the named budgets, the other points of the front, and full length."""
        entries = {name: replace(budget, name=name).entry() for name, budget in self.named.items()}
        for budget in self.saved:
            if budget.point:
                entries[budget.name] = budget.entry()
        return entries | {FULL: self.full.entry()}


def select_budgets(measurements: Sequence[Measurement], max_loss: float, retained: Callable[[Sequence], float]) -> Selection:
    """Selects the budgets to save, from found configurations and constant ratios alone."""
    full = next(one.budget for one in measurements if one.kind is Kind.FULL)
    own = [one.budget for one in measurements if one.kind in (Kind.FOUND, Kind.CONSTANT)]
    allowed = [budget for budget in own if budget.score >= (1 - max_loss) * full.score]
    front = [budget for budget in keep_budgets(allowed, full) if not budget.is_full]
    chosen = name_budgets(allowed, full, retained)
    saved = []
    for budget in sorted([*front, *chosen.values()], key=lambda candidate: candidate.latency_ms):
        if all(budget.length_config != other.length_config for other in saved):
            names = [name for name, other in chosen.items() if other.length_config == budget.length_config]
            point_name = f"front-{len(saved) + 1}"
            saved.append(replace(budget, name=names[0] if names else point_name, point=not names))
    named = {}
    for name, budget in chosen.items():
        named[name] = next(other for other in saved if other.length_config == budget.length_config)
    return Selection(full, saved, named)


@dataclass(frozen=True)
class Report:
    """The tables of a search.

    Args:
        selection ([`Selection`]): the budgets that are saved.
        measurements (`list[Measurement]`): the rows: full length, saved budgets, constant ratios, listed configurations and
            baselines, with their test scores if there are test examples.
    """

    selection: Selection
    measurements: list[Measurement]

    @property
    def has_test_scores(self) -> bool:
        """Whether the rows were scored on test examples."""
        return any(one.test_score is not None for one in self.measurements)

    def of_kind(self, *kinds: Kind) -> list[Measurement]:
        """The rows of some kinds."""
        return [one for one in self.measurements if one.kind in kinds]

    def columns(self) -> list[str]:
        """Headers of `rows`."""
        metric = _shown(self.selection.full.metric)
        return ["budget", "length configuration", metric, f"{metric} lost", "MACs", "ms", "× full", f"test {metric}"]

    def rows(self) -> list[list[str]]:
        """The table, full length first."""
        return [self._row(one) for one in self.measurements]

    def comparison(self, on_test: bool = False) -> list[list[str]]:
        """Rows under `COMPARED`: cost of the front and of constant ratios at equal loss, interpolated between two points."""
        full = next(one for one in self.measurements if one.kind is Kind.FULL)
        constant = [full, *self.of_kind(Kind.CONSTANT)]
        ratios = [one.budget.length_config for one in constant]  # a saved budget may be one of them
        front = [full, *(one for one in self.of_kind(Kind.FOUND) if one.budget.length_config not in ratios)]
        rows = []
        for loss in LOSSES:
            found_ms = _cost_at(front, full, loss, "latency_ms", on_test)
            constant_ms = _cost_at(constant, full, loss, "latency_ms", on_test)
            found_macs = _cost_at(front, full, loss, "macs", on_test)
            constant_macs = _cost_at(constant, full, loss, "macs", on_test)
            ratio = "-" if found_ms is None or constant_ms is None else f"{found_ms / constant_ms:.3f}"
            costs = [_percent(value) for value in (found_ms, constant_ms, found_macs, constant_macs)]
            rows.append([f"{100 * loss:g} %", costs[0], costs[1], ratio, costs[2], costs[3]])
        return rows

    def _row(self, measurement: Measurement) -> list[str]:
        budget, full = measurement.budget, self.selection.full
        names = [budget.name]
        if measurement.kind is Kind.FOUND:
            names = [name for name, other in self.selection.named.items() if other.name == budget.name] or names
        entries = ", ".join(str(entry) for entry in budget.length_config or [])
        return [
            ", ".join(names),
            entries or "all tokens",
            f"{budget.score:.2f}",
            _lost(budget, full),
            f"{100 * budget.macs / full.macs:.0f} %",
            f"{budget.latency_ms:.1f}",
            f"{full.latency_ms / budget.latency_ms:.2f}",
            "" if measurement.test_score is None else f"{measurement.test_score:.2f}",
        ]


def make_report(measurements: Sequence[Measurement], selection: Selection) -> Report:
    """Orders the rows: full length, saved budgets (slowest first), constant ratios, listed configurations, baselines."""
    saved = [Measurement(Kind.FOUND, budget) for budget in reversed(selection.saved)]
    rest = [one for one in measurements if one.kind in (Kind.CONSTANT, Kind.LISTED, Kind.BASELINE)]
    return Report(selection, [Measurement(Kind.FULL, selection.full), *saved, *rest])


def _cost_at(group: Sequence[Measurement], full: Measurement, loss: float, cost: str, on_test: bool) -> float | None:
    """Cost at which a group of measurements loses this much, as a share of full length's."""
    points = []
    for one in group:
        score = one.test_score if on_test else one.budget.score
        points.append((getattr(one.budget, cost) / getattr(full.budget, cost), score))
    reference = full.test_score if on_test else full.budget.score
    return cost_at(points, (1 - loss) * reference)


def _lost(budget: Budget, full: Budget) -> str:
    """The lost share of full length's score, with its standard error where that is known."""
    if not full.score:
        return "-"
    error = "" if budget.score_error is None else f" ± {100 * budget.score_error / full.score:.1f}"
    return f"{100 * (1 - budget.score / full.score):.1f}{error} %"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _shown(metric: str) -> str:
    return {"f1": "F1", "exact_match": "EM"}.get(metric, metric)
