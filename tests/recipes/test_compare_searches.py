"""The recipe script that compares search methods."""

import importlib.util
from pathlib import Path

import pytest


pytest.importorskip("optuna", reason="needs the search extra")
SCRIPT = Path(__file__).parents[2] / "recipes" / "quala-minilm-squad" / "compare_searches.py"
specification = importlib.util.spec_from_file_location("compare_searches", SCRIPT)
compare_searches = importlib.util.module_from_spec(specification)
specification.loader.exec_module(compare_searches)


def test_cost_at_a_score_is_interpolated():
    cost_at = compare_searches.cost_at
    points = [(1.0, 70.0), (2.0, 74.0), (3.0, 73.0), (4.0, 75.0)]  # the third is dominated
    assert cost_at(points, 60.0) == 1.0 and cost_at(points, 74.0) == 2.0 and cost_at(points, 76.0) is None
    assert cost_at(points, 72.0) == pytest.approx(1.5) and cost_at(points, 74.5) == pytest.approx(3.0)
    assert cost_at([], 1.0) is None


@pytest.mark.parametrize("method", ["grid", "tpe", "nsga2", "evolution"])
def test_every_method_searches_a_table(method):
    entries = [{"first": a, "second": b, "f1": 70 + 5 * a + 3 * b, "macs": (a + b) / 2} for a, b in compare_searches.nodes()]
    table = compare_searches.Table(entries)
    points = compare_searches.search(method, table, 9, seed=0)
    assert len(points) == 9 and max(score for _, score in points) <= table.full
