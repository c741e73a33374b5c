from experiments.commands.progress import outcome, progress


def test_a_finished_cell_is_told_in_a_line(cell):
    text = outcome(cell)
    assert text.startswith("improvement ") and " x floor, effective sharpness up to 1.20" in text
    assert outcome(cell.sel(flow=["stable"])) == "finished"


def test_bars_are_hidden_where_there_is_no_terminal(capsys):
    with progress("steps") as report:
        report("training", 1, 2)
    assert capsys.readouterr().err == ""
