import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow import Iteration, RodFlow, StableFlow
from rodflow.solvers import Integrator
from rodflow.tracking._iterates import runaway_limit
from rodflow.tracking._solution import begin_flow, follow_flow


def parabola(w):
    return jnp.sum(w**2) / 2


def begun(build, learning_rate, integrator=None):
    """A flow of gradient descent, w' = -lr w if it is the stable one, and its run from 1."""
    iteration = Iteration(parabola, optax.sgd(learning_rate))
    flow = build(iteration)
    integrator = flow.integrator if integrator is None else integrator
    return flow, integrator, begin_flow(flow, integrator, iteration.init(jnp.ones(2)), None)


def at(step):
    return jnp.array(step, jnp.int32)


@pytest.mark.parametrize("build", [StableFlow, RodFlow])
def test_two_stretches_are_one_solution(build):
    """What the solver remembers is handed on."""
    flow, integrator, run = begun(build, 0.1)
    whole, _ = follow_flow(flow, integrator, run, at(0), 6)
    half, _ = follow_flow(flow, integrator, run, at(0), 3)
    parts, _ = follow_flow(flow, integrator, half, at(3), 3)
    rtol = 1e-6 if build is RodFlow else 1e-3  # an adaptive solver chooses its steps anew
    np.testing.assert_allclose(flow.center(parts.y), flow.center(whole.y), rtol=rtol)
    assert parts.diverged_at == whole.diverged_at == -1


def test_work_is_counted_per_optimizer_step():
    flow, integrator, run = begun(StableFlow, 0.1, Integrator(diffrax.Euler(), 0.25))
    run, work = follow_flow(flow, integrator, run, at(0), 5)
    np.testing.assert_allclose(flow.center(run.y), (1 - 0.1 / 4) ** 20, rtol=1e-5)
    assert (work.gradients, work.hessians, work.thirds) == (4, 0, 0)


def test_a_flow_that_runs_away_is_marked_and_lost():
    """Euler at dt = 1 multiplies by 1 - lr = -10 a step; the limit is 1e6 (1 + sqrt 2)."""
    flow, integrator, run = begun(StableFlow, 11.0, Integrator(diffrax.Euler(), 1.0))
    np.testing.assert_allclose(run.limit, runaway_limit(jnp.ones(2)))
    run, _ = follow_flow(flow, integrator, run, at(0), 4)
    assert run.diverged_at == -1
    run, _ = follow_flow(flow, integrator, run, at(4), 4)
    assert run.diverged_at == 7  # sqrt(2) 1e7 is the first beyond it
    assert all(jnp.all(jnp.isnan(leaf)) for leaf in jax.tree.leaves(run.y))
    later, _ = follow_flow(flow, integrator, run, at(8), 4)
    assert later.diverged_at == 7


def test_too_many_solver_steps_are_a_divergence():
    integrator = Integrator(diffrax.Euler(), 0.25, max_steps=3)
    flow, integrator, run = begun(StableFlow, 0.1, integrator)
    run, _ = follow_flow(flow, integrator, run, at(10), 4)
    assert run.diverged_at == 13  # 12 steps of 1/4 allowed
