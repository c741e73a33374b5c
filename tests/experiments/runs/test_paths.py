import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rodflow
from experiments.problems import Problem
from experiments.runs import paths
from experiments.setup.plane import coordinates

EVERY, RECORDS, WARMUP = 4, 3, 2
SCALES = jnp.array([2.2, 1.0, 0.5])


def loss(w):
    """Beyond the edge of gradient descent at learning rate 1 along the first parameter."""
    return jnp.sum(SCALES * w**2) / 2 - w[0] ** 4 / 4


def followed(rate=1.0, flows=None):
    problem, tx = (
        Problem(loss, lambda key: jnp.array([0.1, 1.0, 1.0])),
        rodflow.OPTIMIZERS["gd"](rate),
    )
    tracker = rodflow.Tracker(loss, tx, flows, every=EVERY)
    start = tracker.init(problem.init(None), warmup=WARMUP)
    told = []
    found = paths.recorded(problem, tx, tracker, start, RECORDS, lambda *what: told.append(what))
    return found, tracker, start, told


def test_the_paths_are_the_coordinates_of_every_step():
    found, tracker, start, told = followed()
    step = jax.jit(tracker.iteration.step)
    z, iterates = tracker.iteration.init(start.start), []
    for _ in range(EVERY * RECORDS + 2):
        iterates.append(z.params)
        z = step(z)
    expected = [coordinates(found.modes.plane, w) for w in iterates[1:-1]]
    np.testing.assert_allclose(found.iterates.center, expected, atol=1e-6)
    assert not found.iterates.rod.any()
    np.testing.assert_allclose(np.abs(found.modes.plane.covectors), np.eye(2, 3), atol=1e-4)
    # The plane is at the end: the parameters one step after the last record.
    np.testing.assert_allclose(found.modes.plane.origin, iterates[-1], rtol=1e-5)
    norms = [np.linalg.norm(jax.grad(loss)(w)) for w in iterates]
    squares = np.square(norms)
    for record in range(RECORDS):
        t = (record + 1) * EVERY
        expected = np.sqrt((squares[t] + squares[t + 1]) / 2)
        np.testing.assert_allclose(found.iterates.gradient[record], expected, rtol=1e-5)
    assert told[-1] == ("following the rod flow", 12, 12)


def test_the_flows_are_those_of_the_tracker():
    found, tracker, start, _ = followed()
    state = start
    for record in range(RECORDS):
        state, _ = tracker.run(state, 1)
        last = (record + 1) * EVERY - 1
        for name, flow in tracker.flows.items():
            y = state.flows[name].y
            center = coordinates(found.modes.plane, flow.center(y))
            np.testing.assert_allclose(found.flows[name].center[last], center, atol=1e-6)
        c, x = state.flows["rod"].y.c.params, state.flows["rod"].y.x.params
        ends = [coordinates(found.modes.plane, w) for w in (c + x, c - x)]
        half = np.subtract(*ends) / 2
        np.testing.assert_allclose(found.flows["rod"].rod[last], half, atol=1e-6)
        squares = [np.sum(jax.grad(loss)(w) ** 2) for w in (c + x, c - x)]
        expected = np.sqrt(np.mean(squares))
        np.testing.assert_allclose(found.flows["rod"].gradient[record], expected, rtol=1e-5)
    assert not found.flows["stable"].rod.any()
    assert all(path.seconds > 0 for path in (found.iterates, *found.flows.values()))


def test_the_ends_of_the_rod_are_near_the_iterates():
    found = followed()[0]
    rod = found.flows["rod"]
    alternating = rod.center + (-1.0) ** np.arange(1, EVERY * RECORDS + 1)[:, None] * rod.rod
    error = np.abs(alternating - found.iterates.center)[4:].max()
    assert error < 0.1 * np.abs(found.iterates.center[4:]).max()


def test_a_run_that_leaves_the_numbers_has_no_plane():
    found = followed(rate=40.0)[0]
    assert found.modes is None
    assert np.isnan(found.iterates.center).all()
    assert found.iterates.center.shape == (EVERY * RECORDS, 2)


@pytest.mark.parametrize("flow", [rodflow.RodFlow(), rodflow.StableFlow()])
def test_a_flow_that_diverges_is_not_a_number_from_there_on(flow):
    found = followed(rate=8.0, flows={"lost": flow})[0]
    assert not np.isfinite(found.flows["lost"].center[-1]).any()
