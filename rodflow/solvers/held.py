"""A solver that holds the costly part of a flow's field for a step."""

from __future__ import annotations

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from diffrax import RESULTS
from jaxtyping import Array, Bool, PyTree

from rodflow._checks import check_count
from rodflow.solvers._map_solver import AbstractMapSolver, Step, Time, check_solver, flow_term
from rodflow.solvers._work import evaluations_per_step
from rodflow.solvers.lookback import LookbackEuler
from rodflow.term import FlowTerm, Work


class Held(AbstractMapSolver):
    """Another solver's steps, with the costly part of the field held at the start of each.

    Args:
        solver: The solver of the substeps.
        substeps: Its steps in one of these.

    Raises:
        ValueError: There is no solver or substep, or the term is not that of a flow with a costly
            part, such as `CentralFlow`.

    Examples:
        A step of the central flow takes its Hessian-vector product once, with a gradient, and two
        more gradients in each of two substeps:

        >>> import jax, jax.numpy as jnp, optax, rodflow
        >>> from rodflow.solvers import work_per_step
        >>> iteration = rodflow.Iteration(lambda w: jnp.sum(w**2), optax.sgd(0.1))
        >>> flow = rodflow.CentralFlow(modes=1)
        >>> y = flow.init(iteration, iteration.init(jnp.ones(2)))
        >>> work = work_per_step(rodflow.Held(substeps=2), flow.term(iteration), y)
        >>> float(work.gradients), float(work.hessians)
        (5.0, 1.0)
    """

    solver: diffrax.AbstractSolver = LookbackEuler()
    substeps: int = eqx.field(static=True, default=2)

    def __check_init__(self) -> None:
        check_solver("solver", self.solver)
        if isinstance(self.solver, Held):
            raise ValueError("`solver` is Held itself; it must be the solver of the substeps.")
        check_count("substeps", self.substeps, 1)

    def work(self, term: FlowTerm, y: PyTree) -> Work:
        held, rest = term.work(y)
        evaluations = self.substeps * evaluations_per_step(self.solver, term)
        return held.plus(rest.times(evaluations))

    def init(
        self, terms: diffrax.AbstractTerm, t0: Time, t1: Time, y0: PyTree, args: PyTree
    ) -> Any:
        if (flow := flow_term(terms)) is None or not flow.holds:
            raise ValueError(
                "Held holds the costly part of a flow's field, and this term has none; flows that "
                "have one are CentralFlow and FreeEnergyFlow."
            )
        return self.solver.init(terms, t0, t0 + (t1 - t0) / self.substeps, y0, args)

    def step(
        self,
        terms: diffrax.AbstractTerm,
        t0: Time,
        t1: Time,
        y0: PyTree,
        args: PyTree,
        solver_state: Any,
        made_jump: bool | Bool[Array, ""],
    ) -> Step:
        flow = flow_term(terms)
        assert flow is not None  # asked in `init`
        held = flow.held_at(y0)
        h = (t1 - t0) / self.substeps

        def substep(carry: tuple[PyTree, PyTree], n: Array) -> tuple[tuple[PyTree, PyTree], None]:
            y, state = carry
            start = t0 + n * h
            jumped = made_jump & (n == 0)
            y, _, _, state, _ = self.solver.step(held, start, start + h, y, args, state, jumped)
            return (y, state), None

        numbers = jnp.arange(self.substeps)
        (y1, solver_state), _ = jax.lax.scan(substep, (y0, solver_state), numbers)
        return y1, None, dict(y0=y0, y1=y1), solver_state, RESULTS.successful
