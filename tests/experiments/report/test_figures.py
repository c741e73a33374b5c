from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from experiments.analysis.style import FLOWS, style
from experiments.report import figures
from experiments.setup.plane import OF_THE_HESSIAN


def test_png_is_large_enough_to_print(results):
    image = imread(BytesIO(figures.png(results)), format="png")
    assert image.shape[:2] == (4.8 * 200, 7.2 * 200)


def test_panels_show_what_the_issue_asks_for(results):
    panels = figures.overview(results).axes
    labels = [[str(line.get_label()) for line in panel.lines] for panel in panels]
    assert labels[0] == ["iterates", "stable flow", "rod flow"]
    assert "edge of stability" in labels[1]
    np.testing.assert_array_equal(panels[1].lines[0].get_ydata(), 1.0)
    assert any("floor" in label for label in labels[2])
    assert [panel.get_yscale() for panel in panels[2:]] == ["log", "log"]
    assert {panel.get_xlim() for panel in panels} == {(0.0, 60.0)}


@pytest.mark.parametrize("what", ["no floor", "all nan", "one record"])
def test_draws_whatever_a_run_leaves(results, what):
    if what == "no floor":
        results = results.drop_vars("floor")
    elif what == "all nan":
        results = results.where(results.step < 0)
    else:
        results = results.isel(step=[0])
    assert figures.png(results)


def test_a_run_that_left_no_numbers_says_so(results):
    for shown, texts in ((results, []), (results.where(results.step < 0), [figures.LOST])):
        for panel in figures.overview(shown).axes:
            assert [text.get_text() for text in panel.texts] == texts


def test_all_flows_are_drawn_each_in_its_own_way(cell):
    loss, _, distance, extent = figures.overview(cell).axes
    for panel, flows in ((loss, 3), (distance, 3), (extent, 2)):
        looks = {(line.get_color(), str(line.get_linestyle())) for line in panel.lines}
        labels = [line.get_label() for line in panel.lines]
        assert len(looks) == len(labels)
        assert len([label for label in labels if label in known_labels()]) == flows


def known_labels():
    return {style(name).label for name in FLOWS}


def test_of_several_seeds_the_first_is_drawn_unless_one_is_chosen(cell):
    for chosen, seed in ((cell, 0), (cell.isel(seed=2), 7)):
        distance = figures.overview(chosen).axes[2]
        drawn = next(line for line in distance.lines if line.get_label() == "rod flow")
        expected = cell.distance.sel(seed=seed, flow="rod")
        np.testing.assert_array_equal(drawn.get_ydata(), expected)


def test_a_run_with_paths_has_a_plane_with_rods_and_two_predictions_more(run_with_paths):
    panels = figures.overview(run_with_paths).axes
    titles = [panel.get_title(loc="left").partition("  ")[2] for panel in panels]
    assert titles[3:] == [
        "Variance in the leading modes",
        "Gradient norm",
        "Plane of the leading modes",
    ]
    variance, gradient, plane = panels[3:]
    measured, predicted = (line.get_ydata() for line in variance.lines[:2])
    np.testing.assert_allclose(measured[1:-1], 0.01)
    np.testing.assert_allclose(predicted, 0.01)
    assert len(gradient.lines) == 3
    # A line between the iterates, 60 rods, the iterates, the centre and the stable flow.
    assert len(plane.lines) == 64
    np.testing.assert_allclose(plane.lines[1].get_xdata(), [0.1, -0.1])


def test_the_plane_of_a_flow_that_diverged_is_drawn(run_with_paths):
    whole = run_with_paths
    of_flows = ["flow_path", "rod_path"]
    lost = whole.assign(whole[of_flows].where(whole.flow != "rod"))
    assert figures.png(lost.assign_attrs(plane=OF_THE_HESSIAN))


def test_a_logarithmic_axis_of_less_than_a_decade_has_more_than_one_label(results):
    narrow = results.assign(mean_loss=results.loss, flow_loss=results.flow_loss)
    for name, low, high in (("distance", 0.2, 0.6), ("distance", 1.5e-5, 4e-5)):
        values = np.linspace(low, high, 6) * np.ones((1, 2, 1))
        axes = figures.overview(
            narrow.drop_vars("floor").assign({name: (("seed", "flow", "step"), values)})
        ).axes[2]
        low, high = axes.get_ylim()
        assert sum(low <= tick <= high for tick in axes.get_yticks()) >= 2
        assert all(figures.number_on_axis(tick) for tick in axes.get_yticks())


def test_numbers_on_axes_are_short():
    written = [figures.number_on_axis(x) for x in (0.02, 5.0, 2e-5)]
    assert written == ["0.02", "5", r"$2\times10^{-5}$"]
