import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import epochs


@pytest.mark.slow
def test_the_rod_flow_of_an_epoch_is_closer_than_its_stable_flows():
    """Four batches of neighbouring points, short of the edge of the epoch map and at it."""
    tracking = epochs.followed(epochs.minibatches("sorted", 4), jnp.array([0.1, 0.14]))
    distance = {name: np.mean(flow.distance, axis=1) for name, flow in tracking.flows.items()}
    assert np.all(distance["rod"] < distance["stable"])
    assert np.all(distance["rod"] < distance["corrected"])
    before, at_the_edge = np.max(tracking.flows["rod"].extent, axis=1)
    assert before < 1e-3 < at_the_edge


def test_the_least_multiplier_is_the_leftmost_of_all_records():
    turn = np.array([[0.0, -0.5], [0.5, 0.0]])
    assert epochs.least_multiplier(np.stack([np.diag([0.9, -0.7]), turn])) == -0.7
    assert epochs.least_multiplier(np.stack([turn, turn])).real == 0
    assert np.isnan(epochs.least_multiplier(np.stack([turn, turn * np.nan])))


def test_every_order_has_all_points_once_in_an_epoch():
    for order, count in epochs.CASES:
        batches = np.sort(np.ravel(epochs.minibatches(order, count).batches))
        once = np.linspace(-2, 2, epochs.POINTS)
        times = count if order == "alike" else 1
        np.testing.assert_allclose(batches, np.repeat(once, times), atol=1e-6)
