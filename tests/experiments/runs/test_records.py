import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import rodflow
from experiments.configuration.config import load
from experiments.runs import paths, records
from experiments.setup import plane

RECORDS = 3


def flow_tracking(distance: float, twins: bool) -> rodflow.FlowTracking:
    values = jnp.full((1, RECORDS), distance)
    return rodflow.FlowTracking(
        distance=values,
        loss=2 * values,
        loss_error=3 * values,
        extent=4 * values,
        gradients=5 * values,
        hessians=8 * values,
        thirds=9 * values,
        ensemble_distance=6 * values if twins else None,
        ensemble_loss_error=7 * values if twins else None,
        observed={"effective_sharpness": 10 * values} if twins else None,
        diverged_at=jnp.full((1, RECORDS), -1),
    )


def segment(first: int, twins: bool = True, distance: float = 0.5) -> xr.Dataset:
    ones = jnp.ones((1, RECORDS))
    tracking = rodflow.Tracking(
        steps=first + 10 * jnp.arange(RECORDS)[None],
        loss=ones,
        mean_loss=ones,
        oscillation=ones,
        travelled=ones,
        floor=ones if twins else None,
        observed={"effective_sharpness": jnp.ones((1, RECORDS, 2)), "gradient_norm": ones},
        diverged_at=jnp.full((1, RECORDS), -1),
        flows={"rod": flow_tracking(distance, twins), "stable": flow_tracking(4.0, twins)},
    )
    return records.labelled(tracking, [7], ["stable", "rod"])


def whole(twins: bool = True) -> xr.Dataset:
    run = records.finished([segment(10, twins)], load())
    return records.with_paths(run, found())


def found(modes: bool = True) -> paths.Paths:
    """Made-up paths of six steps; the numbers of each say whose they are."""

    def path(value: float) -> paths.Path:
        ones = np.ones((6, 2))
        return paths.Path(value * ones, 10 * value * ones, value * np.ones(RECORDS), value)

    known = plane.LeadingModes(plane.no_plane(jnp.ones(3)), np.array([1.0, 0.5]), "a plane")
    flows = {"rod": path(3.0), "stable": path(2.0)}
    return paths.Paths(path(1.0), flows, known if modes else None)


@pytest.mark.parametrize("twins", [True, False])
def test_everything_is_labelled(twins):
    dataset = whole(twins)
    assert dataset.sizes == {"seed": 1, "step": 3, "flow": 2, "mode": 2, "time": 6}
    for name, variable in dataset.variables.items():
        assert variable.attrs["long_name"], name
        assert name == "flow" or variable.attrs["units"], name
    assert ("floor" in dataset) == ("ensemble_distance" in dataset) == twins
    assert ("flow_effective_sharpness" in dataset) == twins


def test_flows_keep_the_order_given_and_their_numbers():
    dataset = whole()
    assert list(dataset.flow) == ["stable", "rod"]
    rod = dataset.sel(flow="rod", seed=7)
    assert (rod.seconds, rod.improvement) == (3.0, 8.0)
    expected = dict(distance=1, flow_loss=2, loss_error=3, extent=4, gradients=5)
    expected |= dict(ensemble_distance=6, ensemble_loss_error=7, flow_effective_sharpness=10)
    for name, factor in expected.items():
        np.testing.assert_array_equal(rod[name], 0.5 * factor, name)
    assert (dataset.sel(flow="stable").improvement == 1.0).all()
    assert dataset.discrete_seconds == 1.0


def test_paths_keep_the_flow_that_they_are_of():
    dataset = whole().sel(seed=7)
    assert (dataset.path == 1).all() and dataset.path.dims == ("time", "mode")
    assert list(dataset.time) == [1, 2, 3, 4, 5, 6]
    for flow, value in (("stable", 2), ("rod", 3)):
        of = dataset.sel(flow=flow)
        assert (of.flow_path == value).all() and (of.rod_path == 10 * value).all()
        assert (of.flow_alternating_gradient == value).all()
    assert (dataset.alternating_gradient == 1).all()
    assert list(dataset.plane_sharpness) == [1.0, 0.5] and dataset.attrs["plane"] == "a plane"


def test_without_modes_there_are_no_paths_but_gradients_and_times():
    run = records.with_paths(records.finished([segment(10)], load()), found(modes=False))
    assert "path" not in run and "time" not in run.dims and "plane" not in run.attrs
    assert (run.alternating_gradient == 1).all() and run.discrete_seconds == 1.0


def test_segments_are_joined_and_the_improvement_is_that_of_the_whole():
    joined = records.finished([segment(10, distance=0.5), segment(40, distance=1.5)], load())
    assert list(joined.step) == [10, 20, 30, 40, 50, 60]
    assert joined.sel(flow="rod").improvement == 4.0
    assert joined.sizes["mode"] == 2 and joined.seed.sizes == {"seed": 1}


def test_the_improvement_of_a_run_that_diverged_is_no_number():
    joined = records.finished([segment(10, distance=0.5), segment(40, distance=np.nan)], load())
    assert np.isnan(joined.sel(flow="rod").improvement).all()


def test_the_records_say_how_to_repeat_the_run():
    attributes = whole().attrs
    assert "learning_rate: 0.001" in attributes["configuration"]
    assert (attributes["optimizer"], attributes["problem"]) == ("adam", "mlp")
    assert attributes["data"] == "digits"
