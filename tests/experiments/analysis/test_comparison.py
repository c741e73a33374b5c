import numpy as np
import pytest
import xarray as xr

from experiments.analysis.comparison import compare, markdown, onset

STEPS = np.arange(10, 60, 10)


def test_onset_is_the_first_leap_over_what_was_least():
    assert onset(np.array([1e-3, 1e-5, 9e-5, 2e-4, 1e-2]), STEPS) == 40


def test_a_decaying_oscillation_has_no_onset():
    assert np.isnan(onset(np.array([1.0, 0.5, 0.2, 0.1, 0.1]), STEPS))


def test_an_oscillation_that_starts_from_nothing():
    assert onset(np.array([0.0, 0.0, 0.0, 1e-6, 1.0]), STEPS) == 40


def cell(optimizer="gd", rod=2.0):
    """Two seeds, a floor of 1/2, a stable flow ten times further away than the rod."""
    extent = np.array([1e-5, 1e-5, 1e-5, 1e-2, 1e-2])
    by_flow = ("seed", "flow", "step")
    flows = np.array([10 * abs(rod), rod])[None, :, None] * np.ones((2, 1, 5))
    zero = np.zeros((2, 2, 5))
    return xr.Dataset(
        {
            "floor": (("seed", "step"), np.full((2, 5), 0.5)),
            "oscillation": (("seed", "step"), np.stack([np.roll(extent, -1)] * 2)),
            "ensemble_distance": (by_flow, flows),
            "ensemble_loss_error": (by_flow, flows / 100),
            "extent": (by_flow, np.stack([np.stack([0 * extent, extent])] * 2)),
            "gradients": (by_flow, zero + 8),
            "hessians": (by_flow, zero + 3),
            "thirds": (by_flow, zero),
            "flow_effective_sharpness": (by_flow, np.linspace(0.5, 1.5, 20).reshape(2, 2, 5)),
            "relative_time": ("flow", [2.0, 8.0]),
        },
        {"seed": [0, 1], "flow": ["stable", "rod"], "step": STEPS},
        {"problem": "mlp", "data": "digits", "optimizer": optimizer},
    )


def test_a_model_on_a_cell():
    found = compare(cell(), "rod")
    assert found._replace(sharpness=0.0) == (4.0, 4.0, 0.02, 10.0, 0.0, 8.0, 3.0, 0.0, 8.0)
    # The median of the two seeds' largest: the last but ten, and the last.
    np.testing.assert_allclose(found.sharpness, 1.5 - 0.5 * 10 / 19)


def test_a_model_that_never_oscillates_is_late_without_end():
    assert compare(cell(), "stable").delay == np.inf
    quiet = cell()
    quiet["oscillation"] = 0 * quiet.oscillation
    assert np.isnan(compare(quiet, "rod").delay)


def test_without_sharpness_and_time_of_the_flows():
    found = compare(cell().drop_vars(["flow_effective_sharpness", "relative_time"]), "rod")
    assert np.isnan(found.sharpness) and np.isnan(found.time) and found.distance == 4.0


def test_tables_mark_the_closest_and_what_diverged():
    text = markdown([cell(), cell("adam", rod=np.nan), cell("rmsprop", rod=1.0)])
    assert "| mlp, gd | 40.0 | **4.00** |" in text
    assert "| mlp, adam | diverged | diverged |" in text
    assert "| rod | 4.00 | 4.00 | 0.0200 | 10 | 1.24 | 1 | 8.00 | 3.00 | 0 | 8.00 |" in text


def test_a_model_may_be_missing_in_a_cell():
    text = markdown([cell(), cell("adam").sel(flow=["stable"])])
    assert "| mlp, adam | **40.0** |  |" in text
    assert "| rod | 4.00 |" in text


def test_without_twins_there_is_no_comparison():
    with pytest.raises(ValueError, match="a comparison of models needs twins"):
        compare(cell().drop_vars("ensemble_distance"), "rod")
