from typing import ClassVar

import diffrax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from rodflow import Held, LookbackEuler, OneLegLookback
from rodflow.solvers import work_per_step
from rodflow.term import Work

pytestmark = pytest.mark.usefixtures("x64")


class Damped(rodflow.AbstractFlow):
    """The flow dy/dt = -y^2 y, of which y^2 may be held if `costly`."""

    costly: bool = True
    corrected: ClassVar[bool] = True
    holds: ClassVar[bool] = True

    def init(self, iteration, state):
        return state.params

    def increment(self, iteration, y):
        return -(y**3)

    def hold(self, iteration, y):
        return (lambda now: -(y**2) * now) if self.costly else (lambda now: -(now**3))

    def holding(self, y):
        return Work(*jnp.array([1.0, 5.0, 2.0]))

    def phase(self, y):
        return rodflow.PhaseState(y, ())

    def predicted_loss(self, iteration, y):
        return y**2

    def extent(self, y):
        return jnp.zeros(())

    @property
    def gradients(self):
        return 3

    @property
    def integrator(self):
        return rodflow.Integrator(Held(), 1.0)


def damped(**options):
    return Damped(**options).term(rodflow.Iteration(jnp.sum, optax.sgd(0.1)))


def test_held_takes_the_steps_of_its_solver_with_the_field_that_was_held():
    """dy/dt = a y with a held at the start of each step, and each of three Euler steps corrected.

    V = -a y, so that V(y - V / 2) = V (1 + a / 2).
    """
    y, a = 0.7, 0.49
    solver = Held(diffrax.Euler(), substeps=3)
    found = solver.step(damped(), 0.0, 1.5, jnp.array(y), None, None, False)[0]
    np.testing.assert_allclose(found, (1 - 0.5 * a * (1 + a / 2)) ** 3 * y, rtol=1e-12)
    # Two stages of LookbackEuler look back by a quarter.
    found = Held(substeps=3).step(damped(), 0.0, 1.5, jnp.array(y), None, None, False)[0]
    np.testing.assert_allclose(found, (1 - 0.5 * a * (1 + a / 4)) ** 3 * y, rtol=1e-12)


@pytest.mark.parametrize(
    ("solver", "evaluations"),
    [(Held(), 4), (Held(OneLegLookback(), 3), 3), (Held(diffrax.Heun(), 1), 4)],
    ids=["default", "one leg", "Heun"],
)
def test_held_evaluates_the_costly_part_once(solver, evaluations):
    work = work_per_step(solver, damped(), jnp.array(0.7))
    assert tuple(work) == (1 + 3 * evaluations, 5, 2)
    # Another solver evaluates it with the rest.
    work = work_per_step(LookbackEuler(), damped(), jnp.array(0.7))
    assert tuple(work) == (8, 10, 4)


def test_held_has_the_memory_of_its_solver():
    """A field that holds nothing is solved as if it were not held."""
    held = Held(OneLegLookback(), substeps=2)
    ys = [
        diffrax.diffeqsolve(damped(costly=False), solver, 0.0, 6.0, dt0, jnp.array(0.9)).ys
        for solver, dt0 in ((held, 1.0), (OneLegLookback(), 0.5))
    ]
    np.testing.assert_allclose(*ys, rtol=1e-12)


class Told(diffrax.Euler):
    """A solver that adds up what it is told: begin and end of a step, and if there was a jump."""

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        y1 = y0 + jnp.stack([t0, t1, jnp.where(made_jump, 1.0, 0.0)])
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful


@pytest.mark.parametrize("jump", [True, False])
def test_substeps_follow_each_other_and_a_jump_is_before_the_first(jump):
    solver = Held(Told(), substeps=3)
    found = solver.step(damped(), 1.0, 2.5, jnp.zeros(3), None, None, jump)[0]
    np.testing.assert_array_equal(found, [1.0 + 1.5 + 2.0, 1.5 + 2.0 + 2.5, jump])


def test_held_needs_a_substep():
    with pytest.raises(ValueError, match="`substeps` is 0; it must be at least 1"):
        Held(substeps=0)
