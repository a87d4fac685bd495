"""Which budgets a search saves, their names, and its tables; scores and latencies are given."""

import pytest

from hf_dynbert.budgets.budget import Budget
from hf_dynbert.budgets.search.evaluator import Kind, Measurement
from hf_dynbert.budgets.search.report import COMPARED, make_report, select_budgets


def measured(kind, name, share, score, latency_ms):
    length_config = None if share is None else [share] * 4
    budget = Budget(name, length_config, score, 1e9 * (share or 1.0), latency_ms, score_error=0.5)
    return Measurement(kind, budget)


FULL = measured(Kind.FULL, "full", None, 80.0, 10.0)
FOUND = [
    measured(Kind.FOUND, "found-1", 0.9, 79.9, 9.0),
    measured(Kind.FOUND, "found-2", 0.7, 79.5, 7.0),
    measured(Kind.FOUND, "found-3", 0.5, 78.0, 5.0),
    measured(Kind.FOUND, "found-4", 0.4, 76.5, 4.0),
    measured(Kind.FOUND, "found-5", 0.2, 60.0, 2.0),
]
CONSTANT = [measured(Kind.CONSTANT, "constant-1", 0.6, 78.1, 6.0), measured(Kind.CONSTANT, "constant-2", 0.3, 70.0, 3.0)]
# Much better than all else, under names that look like those of the searched model
TRAPS = [
    measured(Kind.BASELINE, "frontier-model", 0.11, 79.99, 1.0),
    measured(Kind.BASELINE, "constant-9", 0.12, 79.99, 1.0),
    measured(Kind.BASELINE, "front-1", 0.13, 79.99, 1.0),
    measured(Kind.BASELINE, "full", None, 81.0, 1.0),
    measured(Kind.LISTED, "found-9", 0.14, 79.99, 1.0),
]
EVERYTHING = [FULL, *FOUND, *CONSTANT, *TRAPS]


def trusted(length_config):
    return 1.0


def test_names_are_the_fastest_within_their_losses():
    selection = select_budgets(EVERYTHING, 0.06, trusted)
    assert {name: budget.length_config[0] for name, budget in selection.named.items()} == {
        "accurate": 0.9,
        "balanced": 0.7,
        "fast": 0.5,
    }
    assert selection.full == FULL.budget


def test_listed_configurations_and_baselines_are_never_saved():
    entries = select_budgets(EVERYTHING, 1.0, trusted).entries()
    saved = [entry["length_config"] for entry in entries.values()]
    assert sorted(config[0] for config in saved if config) == [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9]
    assert entries["full"]["f1"] == 80.0 and entries["full"]["latency_ms"] == 10.0


@pytest.mark.parametrize(
    ("max_loss", "least"), [(1.0, 60.0), (0.2, 70.0), (0.06, 76.5), (0.03, 78.0), (0.003, 79.9), (0.0001, 80.0)]
)
def test_more_than_max_loss_is_never_saved(max_loss, least):
    selection = select_budgets(EVERYTHING, max_loss, trusted)
    assert min(entry["f1"] for entry in selection.entries().values()) == least


def test_a_name_must_hold_on_the_second_sample_too(caplog):
    selection = select_budgets(EVERYTHING, 0.06, lambda length_config: 0.985 if length_config[0] < 0.95 else 1.0)
    assert list(selection.named) == ["fast"]
    assert "there is no budget 'accurate'" in caplog.text and "there is no budget 'balanced'" in caplog.text


def test_points_of_the_front_are_marked_by_a_field():
    selection = select_budgets(EVERYTHING, 0.06, trusted)
    entries = selection.entries()
    assert [name for name, entry in entries.items() if entry.get("point")] == ["front-1", "front-3"]
    assert entries["front-1"]["length_config"] == [0.4] * 4 and entries["front-3"]["length_config"] == [0.6] * 4
    assert set(entries) == {"accurate", "balanced", "fast", "full", "front-1", "front-3"}


def test_one_budget_may_have_several_names():
    selection = select_budgets([FULL, FOUND[0]], 0.06, trusted)
    assert set(selection.named) == {"accurate", "balanced", "fast"} and len(selection.saved) == 1
    entries = selection.entries()
    assert entries["accurate"] == entries["fast"] and "front-1" not in entries
    rows = make_report([FULL, FOUND[0]], selection).rows()
    assert [row[0] for row in rows] == ["full", "accurate, balanced, fast"]


def test_nothing_faster_than_full_length_is_saved(caplog):
    slow = [measured(Kind.FOUND, "found-1", 0.9, 79.9, 10.0), measured(Kind.CONSTANT, "constant-1", 0.8, 90.0, 11.0)]
    selection = select_budgets([FULL, *slow], 0.06, trusted)
    assert list(selection.entries()) == ["full"] and "left out" in caplog.text


def test_rows_have_the_names_of_the_saved_budgets():
    selection = select_budgets(EVERYTHING, 0.06, trusted)
    report = make_report(EVERYTHING, selection)
    names = [row[0] for row in report.rows()]
    assert names == ["full", "accurate", "balanced", "front-3", "fast", "front-1", "constant-1", "constant-2"] + [
        one.budget.name for one in TRAPS
    ]
    by_name = {row[0]: row for row in report.rows()[:6]}
    assert by_name["balanced"] == ["balanced", "0.7, 0.7, 0.7, 0.7", "79.50", "0.6 ± 0.6 %", "70 %", "7.0", "1.43", ""]
    assert len(report.columns()) == len(by_name["balanced"]) and report.columns()[2] == "F1"


def test_comparison_is_between_the_front_and_constant_ratios():
    selection = select_budgets(EVERYTHING, 0.06, trusted)
    rows = make_report(EVERYTHING, selection).comparison()
    assert [row[0] for row in rows] == ["0.2 %", "1 %", "2 %", "3 %"] and all(len(row) == len(COMPARED) for row in rows)
    # 3 % of 80 is 77.6: between 76.5 at 4 ms and 78.0 at 5 ms; between 70.0 at 3 ms and 78.1 at 6 ms
    found, constant = 40 + 10 * (77.6 - 76.5) / 1.5, 30 + 30 * (77.6 - 70.0) / 8.1
    assert rows[3][1:4] == [f"{found:.1f} %", f"{constant:.1f} %", f"{found / constant:.3f}"]


def test_a_model_without_score_has_tables_too():
    zero = [measured(Kind.FULL, "full", None, 0.0, 10.0), measured(Kind.FOUND, "found-1", 0.5, 0.0, 5.0)]
    report = make_report(zero, select_budgets(zero, 0.06, trusted))
    assert report.rows()[1][3] == "-" and len(report.comparison()) == 4
