import numpy as np
import pytest

from experiments.analysis.numbers import Interval, mean_interval, median, number, trimmed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (0.5, "0.500"), (9.999, "10.0"), (12.345, "12.3"), (-5, "-5.00")),
        *((14804, "14800"), (0.0456789, "0.0457")),
        *((1.234e-7, "1.23e-7"), (3.21e8, "3.21e8"), (np.nan, "n/a"), (np.inf, "inf")),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0"), (50.0, "50"), (24.13, "24.1"), (0.04567, "0.0457"), (1.2e-7, "1.2e-07")),
        *((12345.0, "12300"), (np.nan, "nan"), (np.inf, "inf")),
    ],
)
def test_numbers_of_the_terminal_end_with_no_zeros(value, text):
    assert trimmed(value) == text


def test_the_median_leaves_missing_values_out():
    assert median([3.0, np.nan, 1.0]) == 2
    assert np.isnan(median([np.nan]))


def test_the_interval_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(size=400)
    mean, low, high = mean_interval(values)
    assert mean == values.mean()
    np.testing.assert_allclose([mean - low, high - mean], 1.96 * values.std() / 20, rtol=0.1)


def test_an_interval_is_written_in_brackets():
    assert Interval(1.0, 0.5, 2.0).text("{:.1f}".format) == "1.0 [0.5, 2.0]"
