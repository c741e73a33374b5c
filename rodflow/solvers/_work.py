"""Evaluations of a flow's increment in one step of any solver."""

from __future__ import annotations

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from rodflow.solvers._map_solver import AbstractLookback
from rodflow.term import FlowTerm


def evaluations_per_step(solver: diffrax.AbstractSolver, term: FlowTerm) -> int | float:
    """Count the evaluations of a flow's increment in one step of a solver."""
    if isinstance(solver, AbstractLookback):
        return solver.evaluations
    if isinstance(solver, diffrax.AbstractImplicitSolver):
        return float("nan")
    tableau = getattr(solver, "tableau", None)
    if tableau is not None:
        # Diffrax loops over the stages, so that they cannot be counted in a trace.
        return term.evaluations * (tableau.num_stages - int(tableau.fsal))
    return term.evaluations * _calls(solver)


def _calls(solver: diffrax.AbstractSolver) -> int:
    """Count the evaluations of the field in a traced step of an explicit solver."""
    calls: list[None] = []

    def field(t: Any, y: PyTree, args: PyTree) -> PyTree:
        calls.append(None)
        return y

    def step(y: Array) -> PyTree:
        state = solver.init(term, 0.0, 1.0, y, None)
        calls.clear()
        return solver.step(term, 0.0, 1.0, y, None, state, False)[0]

    term = diffrax.ODETerm(field)
    jax.eval_shape(step, jnp.zeros(()))
    return len(calls)
