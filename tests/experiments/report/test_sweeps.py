import numpy as np

from experiments.analysis.style import rendered
from experiments.report import sweeps


def lines(panel):
    return {str(line.get_label()): line for line in panel.lines}


def test_a_line_is_the_median_of_the_seeds_and_divergence_is_marked(swept):
    improvement, distance, sharpness, loss = sweeps.figure(swept).axes
    rates = swept.learning_rate.values
    assert list(lines(improvement)) == ["rod flow", "_child1", "diverged"]
    np.testing.assert_allclose(lines(improvement)["rod flow"].get_ydata(), [5, 5, 5, np.nan])
    np.testing.assert_allclose(lines(distance)["stable flow"].get_ydata(), [10, 10, 10, np.nan])
    np.testing.assert_allclose(lines(sharpness)["iterates"].get_ydata()[:3], 400 * rates[:3])
    np.testing.assert_allclose(lines(loss)["iterates"].get_ydata()[:3], 2 * rates[:3])
    for panel in (improvement, distance, sharpness, loss):
        np.testing.assert_allclose(lines(panel)["diverged"].get_xdata(), rates[3:])
        assert panel.get_xlabel() == "learning rate"


def test_two_axes_are_a_map_with_the_first_upwards(swept):
    figure = sweeps.figure(swept.rename(seed="b1").assign_coords(b1=[0.5, 0.9]))
    maps = [axes for axes in figure.axes if axes.images]
    assert len(maps) == 4
    for axes, value in zip(maps, (swept.improvement.sel(flow="rod"), None), strict=False):
        (image,) = axes.images
        if value is not None:
            np.testing.assert_allclose(image.get_array().filled(np.nan), value.values)
        (crosses,) = axes.lines
        assert set(crosses.get_ydata()) == {3} and set(crosses.get_xdata()) == {0, 1}
        assert (axes.get_ylabel(), axes.get_xlabel()) == ("learning rate", "b1")


def test_all_shapes_of_sweeps_are_drawn(swept):
    three = swept.expand_dims(kappa=[0.1, 0.2]).rename(seed="b1").assign_coords(b1=[0.5, 0.9])
    zipped = swept.isel(seed=0, drop=True).rename(learning_rate="lane")
    zipped = zipped.assign_coords(lane=zipped.lane.values).rename(lane="learning_rate")
    for each in (three, zipped, swept.isel(learning_rate=0, drop=True), swept.where(False)):
        assert rendered(sweeps.figure(each.assign(diverged_at=each.diverged_at > 0)), "png")
    assert "0 diverged" in sweeps.sentence(swept.isel(learning_rate=[0]))


def test_lanes_that_are_zipped_are_drawn_along_their_first_axis(swept):
    lanes = swept.isel(seed=0, drop=True).rename(learning_rate="rate").swap_dims(rate="lane")
    lanes = lanes.assign_coords(b1=("lane", [0.1, 0.2, 0.3, 0.4]))
    panel = sweeps.figure(lanes).axes[0]
    assert panel.get_xlabel() == "rate (with b1)"
    np.testing.assert_allclose(panel.lines[0].get_xdata(), swept.learning_rate.values)


def test_the_data_has_a_line_for_each_lane_and_flow(swept):
    text = sweeps.csv(swept).splitlines()
    assert text[0] == "learning_rate,seed,flow,improvement,distance,sharpness,loss,diverged"
    assert len(text) == 1 + 4 * 2 * 2
