# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""Tables of a model card. Names and values come from files of other people: each is shortened and escaped."""

import html
import math
import re
from collections.abc import Iterable, Mapping

from ..budgets.budget import Budget
from ..budgets.model_budgets import count_macs, length_configs
from ..subnetwork import FULL
from ..utils.tables import markdown_table


TOKENS = 384  # for which a card gives the operations of budgets that were never measured
SIMPLE = re.compile(r"[\w.,-]{1,64}")  # names that may stand in code
LONGEST, MOST_ROWS = 200, 100  # characters of a value and rows of a table: a record may hold megabytes
NO_SCORES = ("macs_mean", "macs_ratio", "length_config", "layers", "examples")  # of an evaluation


def budget_table(config, budgets: Mapping[str, Budget | None]) -> str:
    """Measured budgets, the most operations first, then those that were never measured; full length leads."""
    measured = [budget for budget in budgets.values() if budget is not None]
    measured.sort(key=lambda budget: -budget.macs)
    metrics = list(dict.fromkeys(budget.metric for budget in measured)) or ["f1"]
    rows = []
    for budget in measured:
        error = f" ± {_number(budget.score_error, '.2f')}" if _is_number(budget.score_error) else ""
        latency = f"{_number(budget.latency_ms, '.1f')} ms" if _is_number(budget.latency_ms) else ""
        score = f"{_number(budget.score, '.2f')}{error}"
        operations = f"{_number(budget.macs / 1e9, '.2f')} G"
        rows.append([_code(budget.name), _entries(budget.length_config, budget.layers), score, operations, latency])
    for name in [name for name, budget in budgets.items() if budget is None]:
        network = config.resolve_budget(name)
        operations = f"{count_macs(config, network, TOKENS) / 1e9:.2f} G at {TOKENS} tokens"
        rows.append([_code(name), _entries(network.length_config, network.layers), "", operations, ""])
    rows.sort(key=lambda row: row[0] != _code(FULL) or row[2] != "")  # stable: an unmeasured full length comes first
    score = " / ".join(plain_text(metric).upper() if metric == "f1" else plain_text(metric) for metric in metrics)
    return markdown_table(["budget", "leaves each layer", score, "MACs", "latency"], rows[:MOST_ROWS])


def _entries(length_config: Iterable | None, layers: Iterable | None) -> str:
    shown = "all tokens" if length_config is None else ", ".join(f"{entry:g}" for entry in length_config)
    return shown if layers is None else f"{shown}; layers {', '.join(map(str, layers))}"


def conditions(budget: Budget) -> str:
    """What the score and the latency of a budget were measured on."""
    notes = [f"Score and MACs: mean over {plain_text(budget.sample)}."] if budget.sample else []
    if budget.latency_ms is not None:
        place = f"{plain_text(budget.tokens)} tokens, {plain_text(budget.machine)}, {plain_text(budget.runtime)}"
        notes.append(f"Latency: batch 1, {place}.")
    return " ".join(notes)


def evaluation_table(evaluation: dict) -> str:
    """The metrics at each budget."""
    results = evaluation.get("results", {})
    metrics = list(dict.fromkeys(metric for result in results.values() for metric in scores(result)))
    rows = [
        [
            _code(name),
            *(_number(result.get(metric), ".2f") for metric in metrics),
            f"{_number(100 * result['macs_ratio'], '.0f')} %" if _is_number(result.get("macs_ratio")) else "",
        ]
        for name, result in results.items()
    ]
    return markdown_table(["budget", *metrics, "MACs"], rows[:MOST_ROWS]) if rows else ""


def training_table(training: dict) -> str:
    """What repeats a training, and what it took."""
    minutes = training.get("minutes")
    return _table(
        {
            "started from": training.get("started_from") or training.get("base_model"),
            "teacher": training.get("teacher"),
            "data": training.get("data"),
            "examples": training.get("examples"),
            **mapping(training.get("hyperparameters")),
            "took": f"{minutes:.0f} minutes on {training.get('machine')}" if _is_number(minutes) else None,
            "versions": _versions(training),
        }
    )


def quantization_table(int8: dict, config) -> str:
    """How an int8 model was made, and its scores at the budgets that still have their names."""
    present, then = {FULL: None, **length_configs(config)}, int8.get("length_configs")
    metric, scores = str(int8.get("metric", "f1")), {}  # version 0.1 measured F1 only, and did not write its name
    for key in ("int8", "fp32"):
        pairs = mapping(int8.get(f"{metric}_{key}")).items()
        kept = [(name, score) for name, score in pairs if then is None or then.get(name) == present.get(name, ())]
        scores[key] = ", ".join(f"{name} {_number(score, '.2f')}" for name, score in kept)
    note = f"({int8.get('examples', int8.get('f1_questions'))} examples; in floats {scores['fp32']})"
    return _table(
        {
            f"{'F1' if metric == 'f1' else metric} of int8": f"{scores['int8']} {note}" if scores["int8"] else None,
            "kept in floats": int8.get("kept_in_fp32"),
            **mapping(int8.get("arguments")),
            "versions": _versions(int8),
        }
    )


def _table(values: Mapping[str, object]) -> str:
    rows = [[plain_text(name), plain_text(value)] for name, value in values.items() if value not in (None, "", [])]
    return markdown_table(["", ""], rows[:MOST_ROWS]) if rows else ""


def _versions(record: dict) -> str:
    return ", ".join(f"{name} {number}" for name, number in mapping(record.get("versions")).items())


def mapping(value: object) -> Mapping:
    """The value, if it is a mapping; else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: object, form: str) -> str:
    return format(value, form) if _is_number(value) else ""


def plain_text(value: object) -> str:
    """A value of a record as text of a card: on one line, not too long, and neither HTML nor Markdown."""
    if value is None:
        return ""
    text = ", ".join(map(str, value[:MOST_ROWS])) if isinstance(value, list) else str(value)
    text = "".join(character for character in " ".join(text.split()) if character.isprintable())
    text = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    return re.sub(r"([\[\]`*~\\])", r"\\\1", html.escape(text, quote=False))


def _code(name: str) -> str:
    return f"`{name}`" if SIMPLE.fullmatch(name) else plain_text(name)


def scores(result: Mapping) -> dict[str, float]:
    """The metrics of an evaluation at one budget."""
    return {
        name: value
        for name, value in result.items()
        if SIMPLE.fullmatch(name) and name not in NO_SCORES and _is_number(value)
    }
