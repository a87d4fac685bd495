"""Checks of values that every module shares."""

import math

import numpy as np
import pytest

from hf_dynbert.utils.errors import check_choice, check_number


RANGE = {"least": 0, "most": 1}
REFUSED = [-0.1, 1.5, math.nan, math.inf, -math.inf, True, "0.5", None, [0.5], 10**400]


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.5), np.int64(1)], ids=repr)
def test_numbers_in_the_range_pass(value):
    check_number("share", value, **RANGE)


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: repr(value)[:10])
def test_all_else_is_refused_in_words(value):
    with pytest.raises(ValueError, match=r"^share is .*; valid are numbers from 0 to 1, for example 0.1\.$"):
        check_number("share", value, 0, 1, 0.1)


def test_limits_that_are_not_valid_themselves():
    check_number("share", 0.5, above=0, below=1)
    for value in (0, 1):
        with pytest.raises(ValueError, match=f"share is {value}; valid are numbers above 0 and below 1"):
            check_number("share", value, above=0, below=1)
    with pytest.raises(ValueError, match="count is 2.0; valid are whole numbers from 1 on"):
        check_number("count", 2.0, 1, whole=True)


def test_a_choice():
    check_choice("cost", "macs", ("latency", "macs"))
    with pytest.raises(ValueError, match="cost is 'time'; valid are 'latency', 'macs'"):
        check_choice("cost", "time", ("latency", "macs"))
