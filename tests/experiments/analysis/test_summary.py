import numpy as np
import pytest

import rodflow
from experiments.analysis import summary
from experiments.analysis.verdicts import Verdict


@pytest.fixture
def study(cell):
    """Four cells of two problems: rod improvements 25, 0.5, 25 short of the edge, 4."""
    below, away, other = (cell.copy(deep=True) for _ in range(3))
    below["improvement"].loc[{"flow": "rod"}] = 0.5
    away["effective_sharpness"] *= 0.5
    other["improvement"].loc[{"flow": "rod"}] = 4.0
    return [
        cell,
        below.assign_attrs(optimizer="gd"),
        away.assign_attrs(problem="mlp"),
        other.assign_attrs(problem="mlp", optimizer="unheard_of"),
    ]


def test_flows_have_the_rod_first_and_no_baseline(cell, study):
    assert summary.flows(study) == ["rod", "covariance_4"]
    assert summary.flows([cell.sel(flow=["stable"])]) == []


def test_table_has_problems_and_optimizers_in_the_order_of_the_library(study):
    grid = summary.grid(study, "rod")
    assert grid.columns == ["gd", "adam", "unheard_of"]
    rows = grid.along_rows()
    assert list(rows) == grid.rows == ["vit", "mlp"]
    improvements = [[entry and entry.improvement for entry in row] for row in rows.values()]
    assert improvements == [[0.5, 25, None], [None, 25, 4]]
    everything = [study[0].assign_attrs(optimizer=name) for name in sorted(rodflow.OPTIMIZERS)]
    assert summary.grid(everything, "rod").columns == list(rodflow.OPTIMIZERS)


def test_cells_that_would_share_a_place_are_told_apart(cell):
    assert summary.rows([cell, cell, cell]) == ["vit", "vit (2)", "vit (3)"]
    assert summary.rows([cell, cell.assign_attrs(data="mnist")]) == ["vit, digits", "vit, mnist"]


def test_a_cell_without_the_flow_has_no_entry(cell, study):
    cells = [study[0].sel(flow=["stable", "rod"]), study[1]]
    assert list(summary.grid(cells, "covariance_4").entries) == [("vit", "gd")]


def test_worst_comes_first(study, diverge):
    diverge(study[2], 0, 40)
    study[2]["improvement"] *= np.nan
    found = [(row, each.optimizer, each.verdict) for row, each in summary.worst(study)]
    assert found == [
        ("mlp", "adam", Verdict.DIVERGED),
        ("vit", "gd", Verdict.BELOW_ONE),
        ("mlp", "unheard_of", Verdict.OK),
        ("vit", "adam", Verdict.OK),
    ]


def test_overall_counts_only_cells_at_the_edge(study):
    expected = (
        "3 of 4 cells reached the edge of stability: median improvement 4.00, above 1 in 2 of them."
    )
    assert summary.overall(study) == expected
    study[0]["improvement"] *= np.nan
    assert summary.overall(study).endswith("Without a number, so not in the median: 1.")
    assert summary.overall(study[2:3]) == "None of 1 cells reached the edge of stability."


def test_markdown_is_the_table_of_the_readme(study, diverge):
    diverge(study[3], 0, 40)
    study[3] = study[3].drop_vars("floor")
    assert summary.markdown(study) == (
        "|  | gd | adam | unheard_of |\n"
        "| --- | --- | --- | --- |\n"
        "| vit | **0.500** (4.0) | 25.0 (4.0) |  |\n"
        "| mlp |  | 25.0 (4.0) † | 4.00 ‡ |\n"
    )
