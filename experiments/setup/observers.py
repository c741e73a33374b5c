"""Observers of iterates and flows: numbers that are recorded beside those of tracking."""

from collections.abc import Callable

import jax
import optax
from jaxtyping import Array, Float

import rodflow
from experiments.problems import Problem

MODES = 2  # leading eigenvalues


def observer(
    problem: Problem, tx: optax.GradientTransformation
) -> Callable[[rodflow.PhaseState], dict[str, Float[Array, "..."]]]:
    """Return a function from an iterate to leading effective sharpnesses and gradient norm."""

    def observe(state: rodflow.PhaseState) -> dict[str, Float[Array, "..."]]:
        return {
            "effective_sharpness": effective_sharpness(problem, tx, state, MODES),
            "gradient_norm": optax.tree.norm(jax.grad(problem.loss)(state.params)),
        }

    return observe


def flow_observer(
    problem: Problem, tx: optax.GradientTransformation
) -> Callable[[rodflow.PhaseState], dict[str, Float[Array, ""]]]:
    """Return a function from the centre of a flow to the largest effective sharpness."""

    def observe(state: rodflow.PhaseState) -> dict[str, Float[Array, ""]]:
        return {"effective_sharpness": effective_sharpness(problem, tx, state)[0]}

    return observe


def effective_sharpness(
    problem: Problem, tx: optax.GradientTransformation, state: rodflow.PhaseState, k: int = 1
) -> Float[Array, " k"]:
    """Return the k largest effective sharpnesses, in the metric of the chain."""
    return rodflow.effective_sharpness(problem.loss, tx, state, k, elementwise(state))


def elementwise(state: rodflow.PhaseState) -> bool:
    """Return False for a chain with Kronecker factors, which preconditions with matrices."""
    return optax.tree.get(state.opt_state, "factors") is None
