"""Sizes and times of an adaptation."""

import pytest

from hf_dynbert.adaptation.plan import Speed, make_plan


SPEED = Speed(forward=0.015, backward=0.05)  # about MiniLM-L6 at 160 tokens on two cores


@pytest.mark.parametrize("kind", ["spans", "classes"])
@pytest.mark.parametrize("inputs_per_row", [1.0, 1.3, 16.0])
@pytest.mark.parametrize("minutes", [10, 15, 60])
def test_a_plan_fits_into_its_limit_and_uses_it(kind, inputs_per_row, minutes):
    plan = make_plan(minutes, 36, 20_000, inputs_per_row, SPEED, kind)
    assert 0.9 * minutes < sum(plan.minutes.values()) <= 1.01 * minutes  # sizes are rounded to whole rows and steps
    assert 0 < 3 * plan.search_samples == plan.validation_rows < plan.rows / 2
    assert plan.training_samples <= plan.rows - plan.validation_rows
    longer = make_plan(2 * minutes, 36, 20_000, inputs_per_row, SPEED, kind)
    assert longer.steps > plan.steps and longer.search_samples >= plan.search_samples


def test_few_texts_are_all_used_and_take_less_time():
    plan = make_plan(15, 36, 100, 1.0, SPEED, "classes")
    assert plan.rows == 100 and plan.validation_rows <= 30
    assert plan.steps == round(3 * 70 / 16)  # three passes over the others
    assert sum(plan.minutes.values()) < 8


def test_a_limit_that_is_too_short_names_one_that_works():
    with pytest.raises(ValueError, match="max_minutes is 1; .* Give --max_minutes") as error:
        make_plan(1, 36, 5000, 1.0, SPEED, "spans")
    needed = float(str(error.value).partition("--max_minutes ")[2].split()[0])
    assert make_plan(needed, 36, 5000, 1.0, SPEED, "spans").steps >= 50
