import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow import Integrator, RodFlow, StableFlow, Tracker


def parabola(w):
    return jnp.sum(w**2) / 2


def begun(flow, learning_rate, every, integrator=None):
    """Return the tracker of a flow of gradient descent, and its state at 1.

    The stable flow is dw/dt = -lr w.
    """
    integrators = {} if integrator is None else {"flow": integrator}
    tracker = Tracker(parabola, optax.sgd(learning_rate), {"flow": flow}, integrators, every)
    return tracker, tracker.init(jnp.ones(2))


@pytest.mark.parametrize("flow", [StableFlow(), RodFlow()], ids=["stable", "rod"])
def test_two_stretches_are_one_solution(flow):
    """The memory of the solver is handed on."""
    centers = []
    for every, records in ((6, 1), (3, 2)):
        tracker, state = begun(flow, 0.1, every)
        run = tracker.run(state, records)[0].flows["flow"]
        centers.append(flow.center(run.y))
        assert run.diverged_at == -1
    rtol = 1e-6 if isinstance(flow, RodFlow) else 1e-3  # an adaptive solver chooses its steps anew
    np.testing.assert_allclose(*centers, rtol=rtol)


def test_work_is_counted_per_optimizer_step():
    flow = StableFlow()
    tracker, state = begun(flow, 0.1, 5, Integrator(diffrax.Euler(), 0.25))
    state, tracking = tracker.run(state, 1)
    np.testing.assert_allclose(flow.center(state.flows["flow"].y), (1 - 0.1 / 4) ** 20, rtol=1e-5)
    work = tracking.flows["flow"]
    assert (work.gradients, work.hessians, work.thirds) == (4, 0, 0)


def test_the_work_of_an_implicit_solver_is_not_known():
    controller = diffrax.PIDController(rtol=1e-3, atol=1e-6)
    integrator = Integrator(diffrax.Kvaerno3(), None, controller)
    tracker, state = begun(StableFlow(), 0.1, 2, integrator)
    _, tracking = tracker.run(state, 1)
    assert jnp.isnan(tracking.flows["flow"].gradients[0])
    assert tracking.flows["flow"].diverged_at[0] == -1


def test_a_flow_that_runs_away_is_marked_and_lost():
    """Euler at dt = 1 multiplies by 1 - lr = -10 a step; the limit is 1e6 (1 + sqrt 2)."""
    tracker, state = begun(StableFlow(), 11.0, 4, Integrator(diffrax.Euler(), 1.0))
    np.testing.assert_allclose(state.flows["flow"].limit, 1e6 * (1 + 2**0.5))
    state, tracking = tracker.run(state, 1)
    assert tracking.flows["flow"].diverged_at == -1
    state, tracking = tracker.run(state, 1)
    assert tracking.flows["flow"].diverged_at == 7  # sqrt(2) 1e7 is the first beyond it
    assert all(jnp.all(jnp.isnan(leaf)) for leaf in jax.tree.leaves(state.flows["flow"].y))
    state, tracking = tracker.run(state, 1)
    assert tracking.flows["flow"].diverged_at == 7


def test_too_many_solver_steps_are_a_divergence():
    tracker, state = begun(StableFlow(), 0.1, 4, Integrator(diffrax.Euler(), 0.25, max_steps=3))
    _, tracking = tracker.run(state, 1)
    assert tracking.flows["flow"].diverged_at == 3  # 12 steps of 1/4 allowed
