from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from experiments.report import terminal


def printed(results) -> str:
    text = StringIO()
    Console(width=100, file=text).print(terminal.table(results))
    return text.getvalue()


def test_table_has_a_row_for_the_iterates_and_each_flow(results):
    text = printed(results)
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if "│" in line}
    assert "0.125" in rows["iterates"] and "0.01 (floor)" in rows["iterates"]
    assert rows["rod"].split("│")[2:-1] != rows["stable"].split("│")[2:-1]
    for value in ("50", "0.02", "0.01", "8", "1.5"):
        assert value in rows["rod"]


def test_remarks_tell_the_effective_sharpness(results):
    assert "0.2 at first, 1.2 at most, 1.2 at last" in terminal.remarks(results)


def test_divergence_is_said(results):
    results["flow_diverged_at"].loc[{"flow": "stable", "step": 60}] = 57
    assert "the stable flow diverged at step 57" in terminal.remarks(results)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (24.13, "24.1"), (0.04567, "0.0457"), (1.2e-7, "1.2e-07"), (np.nan, "nan")],
)
def test_numbers_have_three_digits(value, text):
    assert terminal._number(value) == text
