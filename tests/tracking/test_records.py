import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow import FlowTracking, Tracking

STEPS = jnp.array([10, 20, 30])


def flow(distance, diverged_at=-1, gradients=8.0, **changes):
    """Records of a flow; a number that is one for all records is repeated."""
    values = dict.fromkeys(FlowTracking._fields, 0.0) | {
        "distance": distance,
        "gradients": gradients,
        "diverged_at": diverged_at,
    }
    numbers = {name: jnp.broadcast_to(jnp.asarray(x), (3,)) for name, x in values.items()}
    missing = {"ensemble_distance": None, "ensemble_loss_error": None, "observed": None}
    return FlowTracking(**(numbers | missing | changes))


def tracking(diverged_at=-1, floor=None, observed=None, **flows):
    loss = jnp.array([1.0, 0.5, 0.25])
    ends = jnp.full(3, diverged_at)
    return Tracking(STEPS, loss, loss, loss, loss, floor, observed, ends, flows)


def lines_of(records, word):
    return [line for line in records.summary().splitlines() if word in line]


def test_a_summary_is_a_table_of_means():
    records = tracking(stable=flow([2.0, 4.0, 6.0]), rod=flow([0.1, 0.2, 0.3], gradients=4.0))
    text = records.summary()
    assert text.startswith("30 steps in 3 records, loss 1 -> 0.25.")
    assert lines_of(records, "rod")[0].split() == ["rod", "0.2", "20", "0", "4"]
    assert lines_of(records, "stable")[0].split() == ["stable", "4", "-", "0", "8"]
    assert "NaN" not in text and "stopped" not in text


def test_a_summary_says_which_flow_stopped_when_and_why():
    lost = [1.0, np.nan, np.nan]
    stiff = flow(lost, jnp.array([-1, 14, 14]), jnp.array([8.0, 6000.0, 6.0]))
    records = tracking(stable=stiff, rod=flow(0.1))
    (stopped,) = lines_of(records, "stopped at")
    assert stopped == (
        "The flow 'stable' stopped at step 14: it became too stiff for its solver, which took 6000 "
        "gradients a step."
    )
    (reason,) = lines_of(records, "NaN because")
    assert reason.startswith("The improvement of 'rod' is NaN because the flow 'stable' stopped")
    away = tracking(stable=flow(1.0), rod=flow(lost, jnp.array([-1, 14, 14])))
    assert "The flow 'rod' stopped at step 14: its state ran away" in away.summary()
    assert "NaN because the flow 'rod' stopped" in away.summary()
    both = tracking(14, stable=flow(lost), rod=flow(lost))
    assert "The run itself diverged at step 14" in both.summary()
    assert "is NaN because the run stopped" in both.summary()


@pytest.mark.parametrize(("gain", "hints"), [(1.02, 1), (20.0, 0)])
def test_a_rod_that_is_no_closer_comes_with_a_hint(gain, hints):
    records = tracking(stable=flow(gain), rod=flow(1.0))
    assert len(lines_of(records, "rodflow.compensate_rounding")) == hints


def test_several_lanes_have_no_one_summary():
    lanes = jax.tree.map(lambda x: jnp.stack([x, x]), tracking(rod=flow(1.0)))
    for method in (lanes.summary, lanes.plot):
        with pytest.raises(ValueError, match=r"is of one run .* \(2, 3\); take one lane"):
            method()
    assert jax.tree.map(lambda x: x[0], lanes).summary() == tracking(rod=flow(1.0)).summary()


def test_a_figure_has_a_line_for_each_model():
    pytest.importorskip("matplotlib")
    records = tracking(stable=flow([2.0, 4.0, 6.0]), rod=flow(0.1), floor=jnp.ones(3))
    left, right = records.plot().axes
    assert [line.get_label() for line in left.get_lines()] == ["iterates", "stable", "rod"]
    assert [line.get_label() for line in right.get_lines()] == ["stable", "rod", "floor"]
    np.testing.assert_array_equal(right.get_lines()[0].get_xydata(), [[10, 2], [20, 4], [30, 6]])


def test_a_data_set_has_every_record_under_its_name():
    pytest.importorskip("xarray")
    seen = {"sharpness": jnp.arange(6.0).reshape(3, 2)}
    records = tracking(observed=seen, stable=flow(2.0), rod=flow([0.1, 0.2, 0.3]))
    data = records.to_xarray()
    np.testing.assert_array_equal(data.loss, records.loss)
    np.testing.assert_allclose(data.distance.sel(flow="rod", step=20), 0.2)
    np.testing.assert_allclose(data.flow_diverged_at.sel(flow="stable"), -1)
    assert data["observed['sharpness']"].dims[0] == "step" and data.sizes["step"] == 3
    lanes = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), records).to_xarray()
    np.testing.assert_allclose(lanes.distance.sel(flow="rod", step=20), [0.2, 0.4])


@pytest.mark.parametrize(
    ("method", "module", "package"),
    [("plot", "matplotlib.figure", "matplotlib"), ("to_xarray", "xarray", "xarray")],
)
def test_a_package_that_is_missing_is_named(monkeypatch, method, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"Tracking.{method}\(\) needs {package}, which is not"):
        getattr(tracking(rod=flow(1.0)), method)()
