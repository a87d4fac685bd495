"""Which budgets a search saves, their names, and its table; scores and latencies are given."""

import pytest

from hf_dynbert.budgets.budget import Budget
from hf_dynbert.budgets.search.report import result_rows, select_budgets


def measured(share, score, latency_ms):
    length_config = None if share is None else [share] * 4
    return Budget("found", length_config, score, 1e9 * (share or 1.0), latency_ms, score_error=0.5)


FULL = measured(None, 80.0, 10.0)
FOUND = [
    measured(0.9, 79.9, 9.0),
    measured(0.7, 79.5, 7.0),
    measured(0.6, 78.1, 6.0),
    measured(0.5, 78.0, 5.0),
    measured(0.4, 76.5, 4.0),
    measured(0.3, 70.0, 3.0),
    measured(0.2, 60.0, 2.0),
]


def trusted(length_config):
    return 1.0


def test_names_are_the_fastest_within_their_losses():
    budgets = select_budgets(FULL, FOUND, 0.06, trusted)
    named = {name: budget.length_config[0] for name, budget in budgets.items() if name in ("accurate", "balanced", "fast")}
    assert named == {"accurate": 0.9, "balanced": 0.7, "fast": 0.5} and budgets["full"] == FULL


@pytest.mark.parametrize(
    ("max_loss", "least"), [(1.0, 60.0), (0.2, 70.0), (0.06, 76.5), (0.03, 78.0), (0.003, 79.9), (0.0001, 80.0)]
)
def test_more_than_max_loss_is_never_saved(max_loss, least):
    budgets = select_budgets(FULL, FOUND, max_loss, trusted)
    assert min(budget.entry()["f1"] for budget in budgets.values()) == least


def test_a_name_must_hold_on_the_second_sample_too(caplog):
    budgets = select_budgets(FULL, FOUND, 0.06, lambda length_config: 0.985 if length_config[0] < 0.95 else 1.0)
    assert [name for name in budgets if not name.startswith("front")] == ["full", "fast"]
    assert "there is no budget 'accurate'" in caplog.text and "there is no budget 'balanced'" in caplog.text


def test_points_of_the_front_are_marked_by_a_field():
    budgets = select_budgets(FULL, FOUND, 0.06, trusted)
    entries = {name: budget.entry() for name, budget in budgets.items()}
    assert [name for name, entry in entries.items() if entry.get("point")] == ["front-1", "front-2"]
    assert entries["front-1"]["length_config"] == [0.4] * 4 and entries["front-2"]["length_config"] == [0.6] * 4
    assert set(entries) == {"accurate", "balanced", "fast", "full", "front-1", "front-2"}


def test_one_budget_may_have_several_names():
    budgets = select_budgets(FULL, FOUND[:1], 0.06, trusted)
    assert set(budgets) == {"full", "accurate", "balanced", "fast"}
    assert budgets["accurate"].entry() == budgets["fast"].entry()


def test_nothing_faster_than_full_length_is_saved(caplog):
    slow = [measured(0.9, 79.9, 10.0), measured(0.8, 90.0, 11.0)]
    assert list(select_budgets(FULL, slow, 0.06, trusted)) == ["full"] and "left out" in caplog.text


def test_rows_of_the_saved_budgets():
    columns, *rows = result_rows(select_budgets(FULL, FOUND, 0.06, trusted), {"fast": 77.0})
    assert [row[0] for row in rows] == ["full", "accurate", "balanced", "front-2", "fast", "front-1"]
    assert rows[0][1] == "all tokens" and rows[4][-1] == "77.00"
    assert rows[2] == ["balanced", "0.7, 0.7, 0.7, 0.7", "79.50", "0.6 ± 0.6 %", "70 %", "7.0", "1.43", ""]
    assert len(columns) == len(rows[2]) and columns[2] == "F1"


def test_a_model_without_score_has_a_table_too():
    full, found = measured(None, 0.0, 10.0), measured(0.5, 0.0, 5.0)
    rows = result_rows(select_budgets(full, [found], 0.06, trusted), {})
    assert rows[2][3] == "-"
