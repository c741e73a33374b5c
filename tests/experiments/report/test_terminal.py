from io import StringIO

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


def test_the_table_of_a_grid_has_a_place_for_every_cell(cell):
    other = cell.assign_attrs(problem="mlp, digits", optimizer="heavy_ball")
    table = terminal.grid_table([cell, other])
    assert [column.header for column in table.columns] == ["", "heavy\nball", "adam"]
    assert [list(column.cells) for column in table.columns] == [
        ["vit", "mlp\ndigits"],
        ["", "25.0\n[dim]4.0[/dim]"],
        ["25.0\n[dim]4.0[/dim]", ""],
    ]
    remarks = terminal.grid_remarks([cell, other]).splitlines()
    assert remarks[0].startswith("rod: 2 of 2 cells reached the edge of stability")
    assert len(remarks) == 2


def test_the_table_of_a_sweep_has_quantiles_over_its_lanes(cell):
    swept = cell.assign(improvement=cell.improvement.where(cell.seed != 7))
    text = StringIO()
    Console(width=100, file=text).print(terminal.sweep_table(swept))
    assert "3 lanes (seed 3), 0 diverged, 3 at the edge" in " ".join(text.getvalue().split())
    (row,) = [line for line in text.getvalue().splitlines() if line.startswith("│ rod ")]
    assert [entry.strip() for entry in row.split("│")[1:-1]] == ["rod", "37.5", "27.5", "47.5", "0"]
