"""Logs of any training loop: spikes, the readings before them, and the figure."""

import json

import numpy as np
import pytest
import xarray as xr

from experiments.commands import report
from experiments.report import logs


@pytest.fixture
def log():
    """300 steps of a falling loss with spikes at 100 and 200, and meters."""
    steps = np.arange(300)
    loss = 2 * np.exp(-steps / 500)
    loss[100:104] *= 3
    loss[200] = np.inf
    chi = np.linspace(0.5, 1.4, 300)
    s, tau = np.full(300, 0.5), np.full(300, 0.25)
    every = np.where(steps % 50 == 0, chi, np.nan)
    columns = {
        "loss": loss,
        "learning_rate": np.full(300, 0.1),
        "effective_sharpness": chi,
        "alignment": s,
        "descent": tau,
        "realized_edge": chi * s / tau,
        "effective_sharpness/head": every,
        "effective_sharpness/body": every / 2,
        "note": steps,
    }
    variables = {name: ("step", column) for name, column in columns.items()}
    attrs = {"title": "run", "folder": "run.csv", "ignored": "host"}
    return xr.Dataset(variables, {"step": steps.astype(float)}, attrs)


def test_readings_before_a_spike_are_the_last_ones_then(log):
    table = logs.before_spikes(log)
    assert table.columns[:2] == ["spike at step", "loss / median"]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["spike at step"] == "100"
    median = np.median(log.loss.values[:100])
    np.testing.assert_allclose(row["loss / median"], log.loss.values[100] / median)
    for ahead in (50, 10, 1):
        expected = log.effective_sharpness.values[100 - ahead]
        assert row[f"effective sharpness, {ahead} before"] == expected
        assert row[f"realized edge, {ahead} before"] == log.realized_edge.values[100 - ahead]
    assert logs.before_spikes(log.drop_vars("loss")) is None


def test_the_sentence_counts(log):
    text = logs.sentence(log)
    assert text.startswith("300 lines from step 0 to 299; 2 spikes; realized edge at most 2.80, ")
    beyond = np.mean(log.effective_sharpness.values > 1)
    assert f"effective sharpness at most 1.40, beyond the edge in {beyond:.0%} of readings" in text
    assert text.endswith("columns without a number: host.")


def test_the_figure_has_a_panel_for_what_is_known(log):
    titles = [axes.get_title(loc="left") for axes in logs.figure(log).axes]
    wanted = (
        "Loss",
        "Distance from the edge",
        "Factors of the realized edge",
        "Learning rate",
        "Effective sharpness of each layer",
    )
    for title, panel in zip(wanted, titles, strict=False):
        assert panel.endswith(title)
    (all_columns,) = logs.figure(log[["note"]]).axes
    assert all_columns.get_title(loc="left").endswith("All columns")


def test_the_stack_ends_at_the_realized_edge(log):
    stack = logs.figure(log).axes[2]
    line = next(line for line in stack.lines if line.get_label() == "realized edge")
    top = np.exp(np.log(log.effective_sharpness * 2).coarsen(step=1).mean())
    np.testing.assert_allclose(line.get_ydata(), top, rtol=1e-6)


def test_the_command_makes_one_page_of_a_log(log, tmp_path, capsys):
    path = tmp_path / "my_run.jsonl"
    columns = {str(name): log[name].values for name in log.data_vars}
    with path.open("w") as file:
        for i, step in enumerate(log.step.values):
            line = {name: float(column[i]) for name, column in columns.items()}
            file.write(json.dumps({"step": float(step)} | line) + "\n")
    report.main([str(path)])
    page = (tmp_path / "report.html").read_text()
    assert "Log: my_run" in page
    assert "2 spikes" in page
    assert (tmp_path / "figures" / "my_run.png").exists()
    report.main([str(path), "--markdown"])
    assert "**my_run.jsonl.** 300 lines" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        report.main([str(tmp_path / "nothing.csv")])
