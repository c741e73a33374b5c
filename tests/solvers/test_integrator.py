"""The work of a step, for every kind of solver."""

import diffrax
import jax
import jax.numpy as jnp
import optax
import pytest

import rodflow
from rodflow import LookbackEuler, OneLegLookback
from rodflow.solvers import work_per_step

pytestmark = pytest.mark.usefixtures("x64")

SOLVERS = {
    LookbackEuler(): 2,
    OneLegLookback(): 1,
    diffrax.Euler(): 1,
    diffrax.Heun(): 2,
    diffrax.Midpoint(): 2,
    diffrax.Bosh3(): 3,
    diffrax.Tsit5(): 6,  # of seven stages, the first is the last of the step before
    diffrax.Dopri8(): 13,
    diffrax.LeapfrogMidpoint(): 1,
}


def name_of(value):
    return type(value).__name__


def counted(solver, corrected=False):
    """Return the gradients in a step of `solver` on the stable flow of a map."""
    iteration = rodflow.Iteration(jnp.sum, optax.sgd(0.1))
    y = iteration.init(jnp.ones(2))
    term = rodflow.StableFlow(corrected=corrected).term(iteration)
    return work_per_step(solver, term, y).gradients


@pytest.mark.parametrize("solver", SOLVERS, ids=name_of)
def test_evaluations_per_step(solver):
    assert counted(solver) == SOLVERS[solver]
    # A plain solver gets the field with its look-back term; ours look back by themselves.
    ours = isinstance(solver, LookbackEuler | OneLegLookback)
    assert counted(solver, corrected=True) == SOLVERS[solver] * (1 if ours else 2)


def test_the_work_of_implicit_solvers_is_not_known():
    assert jnp.isnan(counted(diffrax.Kvaerno3()))


@pytest.mark.parametrize("corrected", [False, True], ids=["plain", "corrected"])
@pytest.mark.parametrize("solver", list(SOLVERS)[:4], ids=name_of)
def test_evaluations_per_step_are_those_of_a_run(solver, corrected):
    """An independent count: the loss itself counts its gradients, on the host."""
    calls = []

    def loss(w):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.sum(w**2)

    iteration = rodflow.Iteration(loss, optax.sgd(0.1))
    term, y0 = rodflow.StableFlow(corrected=corrected).term(iteration), iteration.init(jnp.ones(2))

    @jax.jit
    def solve(t1):
        return diffrax.diffeqsolve(term, solver, 0.0, t1, 0.5, y0, max_steps=None).ys

    counts = []
    for t1 in (5.0, 15.0):
        jax.effects_barrier()
        calls.clear()
        jax.block_until_ready(solve(t1))
        jax.effects_barrier()
        counts.append(len(calls))
    # Diffrax may evaluate the field once more at the start of a run.
    assert counts[1] - counts[0] == 20 * counted(solver, corrected)
