from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from experiments import figures


def test_png_is_large_enough_to_print(results):
    image = imread(BytesIO(figures.png(results)), format="png")
    assert image.shape[:2] == (4.8 * 200, 7.2 * 200)


def test_panels_show_what_the_issue_asks_for(results):
    panels = figures.overview(results).axes
    labels = [[str(line.get_label()) for line in panel.lines] for panel in panels]
    assert labels[0] == ["iterates (3-step average)", "stable flow", "rod flow"]
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
