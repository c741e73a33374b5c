"""The way a flow is solved, and what a step of it costs."""

from __future__ import annotations

from typing import NamedTuple

import diffrax
from jaxtyping import Array, PyTree

from rodflow.solvers._map_solver import AbstractMapSolver
from rodflow.solvers._work import evaluations_per_step
from rodflow.term import FlowTerm, Work


class Integrator(NamedTuple):
    """The way a flow is solved: the arguments of `diffrax.diffeqsolve` besides the term.

    Attributes:
        solver: Any Diffrax solver.
        dt0: The step size in optimizer steps, or None where the controller chooses the first.
        stepsize_controller: Any Diffrax step size controller.
        adjoint: `diffrax.ForwardMode()` compiles in half the time, but then a run cannot be
            differentiated in reverse mode.
        max_steps: Solver steps per optimizer step beyond which a solve counts as diverged.

    Examples:
        >>> import diffrax, rodflow
        >>> rodflow.RodFlow().integrator.dt0  # two steps for each of the optimizer
        0.5
        >>> coarse = rodflow.Integrator(rodflow.LookbackEuler(), dt0=1.0)  # the map itself
        >>> adaptive = rodflow.Integrator(
        ...     diffrax.Tsit5(), None, diffrax.PIDController(rtol=1e-3, atol=1e-6))
    """

    solver: diffrax.AbstractSolver
    dt0: float | Array | None
    stepsize_controller: diffrax.AbstractStepSizeController = diffrax.ConstantStepSize()
    adjoint: diffrax.AbstractAdjoint = diffrax.RecursiveCheckpointAdjoint()
    max_steps: int = 1000


def work_per_step(solver: diffrax.AbstractSolver, term: FlowTerm, y: PyTree) -> Work:
    """Return the work of one step of `solver` on `term` at `y`, the first step not counted.

    NaN for implicit solvers, whose root finders take as many evaluations as they need.

    Examples:
        >>> import diffrax, jax.numpy as jnp, optax, rodflow
        >>> from rodflow.solvers import work_per_step
        >>> iteration = rodflow.Iteration(lambda w: w**2, optax.sgd(0.1))
        >>> flow = rodflow.RodFlow()
        >>> y = flow.init(iteration, iteration.init(jnp.array(1.0)))
        >>> for solver in rodflow.OneLegLookback(), rodflow.LookbackEuler(), diffrax.Heun():
        ...     print(work_per_step(solver, flow.term(iteration), y).gradients)
        2.0
        4.0
        8.0
    """
    if isinstance(solver, AbstractMapSolver):
        return solver.work(term, y)
    held, rest = term.work(y)
    return held.plus(rest).times(evaluations_per_step(solver, term))
