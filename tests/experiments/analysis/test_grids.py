"""Tables of a grid, on cells whose numbers are known."""

import numpy as np
import pytest

from experiments.analysis import grids, summary
from experiments.analysis.numbers import median


@pytest.fixture
def cells(cell):
    """Two architectures by two optimizers, improvements 25, 50, 100 and 200 for the rod."""
    made = []
    for problem, optimizer, times in (
        ("mlp", "gd", 1.0),
        ("mlp", "adam", 2.0),
        ("vit", "gd", 4.0),
        ("vit", "adam", 8.0),
    ):
        one = cell.copy(deep=True).assign_attrs(problem=problem, optimizer=optimizer)
        one = one.sel(flow=["stable", "rod", "covariance_4"])
        one = one.assign_coords(flow=["stable", "rod", "covariance_1"])
        one["improvement"].loc[{"flow": "rod"}] = 25 * times
        one["distance"].loc[{"flow": "rod"}] = one.distance.sel(flow="rod") * times
        made.append(one)
    made[3]["effective_sharpness"] *= 0.5  # not at the edge
    return made


def test_optimizers_have_medians_over_the_architectures_and_all_of_them_one_too(cells):
    table = next(each for each in grids.tables(cells) if each.name == "optimizers")
    assert table.columns == ["", *grids.IMPROVEMENTS.values(), *grids.FLOORS.values()]
    rows = {str(row[0]): row[1:] for row in table.rows}
    # From three seeds the rod is at 2, 4 and 8 floors, times 1, 2, 4 and 8 in the cells.
    assert rows["gd"] == pytest.approx([(25 + 100) / 2, 10, (4 + 16) / 2, 100])
    assert rows["adam"] == pytest.approx([(50 + 200) / 2, 10, (8 + 32) / 2, 100])
    assert rows["all"] == pytest.approx([75, 10, 12, 100])
    assert list(rows) == ["gd", "adam", "all"]


def test_flows_have_medians_over_the_cells_at_the_edge(cells):
    table = grids.tables(cells)[0]
    assert table.name == "flows"
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["rod"]["improvement"] == 50 and rows["rod"]["cells ahead of stable"] == 3
    assert (rows["rod"]["cells at the edge"], rows["rod"]["cells"]) == (3, 4)
    assert rows["stable"]["cells ahead of stable"] is None


def test_every_cell_has_a_row_for_each_flow(cells):
    table = grids.every(cells)
    assert len(table.rows) == 4 * 3 and table.columns[-1] == "loss error"
    rod = [dict(zip(table.columns, row, strict=True)) for row in table.rows if row[2] == "rod"]
    assert [row["improvement"] for row in rod] == [25, 50, 100, 200]
    assert [row["at the edge"] for row in rod] == ["yes", "yes", "yes", "no"]
    assert [(row["problem"], row["optimizer"]) for row in rod][1] == ("mlp", "adam")
    assert median([row["distance / floor"] for row in rod]) == 12


def test_numbers_name_the_medians_and_the_extremes(cells):
    found = grids.numbers(cells)
    assert (found["cells"], found["cells at the edge"], found["minutes"]) == (4, 3, 50 / 60)
    assert found["rod median improvement"] == 50
    assert (found["rod least improvement"], found["rod largest"]) == (25, 100)


def test_twins_add_the_comparison_of_the_models(cells):
    without = grids.tables(cells)
    for each in cells:
        each["oscillation"] = each.floor * np.array([1, 1, 1, 100, 1000, 1000])
        each["ensemble_distance"], each["ensemble_loss_error"] = each.distance, each.loss_error
        each["hessians"] = each["thirds"] = 0 * each.gradients
    names = [table.name for table in without]
    assert [table.name for table in grids.tables(cells)] == ["models", *names]
    sharp = [each.assign(flow_effective_sharpness=each.distance) for each in cells]
    assert [table.name for table in grids.tables(sharp)] == ["distances", "models", *names]
    table = grids.every(cells)
    assert table.columns[-1] == "time" and all(len(row) == 15 for row in table.rows)


def test_a_map_is_read_from_the_table_of_every_cell(cells, diverge):
    diverge(cells[0], 0, 30)
    expected = summary.grid(cells, "rod")
    found = grids.grid(grids.every(cells), "rod")
    assert (found.rows, found.columns) == (expected.rows, expected.columns)
    assert list(found.entries) == list(expected.entries)
    for place, one in expected.entries.items():
        read = found.entries[place]
        assert (read.verdict, read.at_edge) == (one.verdict, one.at_edge)
        np.testing.assert_equal(read.improvement, one.improvement)
        np.testing.assert_equal(read.over_floor, one.over_floor)
