"""What is observed along the iterates and the flows besides what tracking records."""

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
    """Return a function of the iterate: leading effective sharpnesses and the gradient's norm."""

    def observe(state: rodflow.PhaseState) -> dict[str, Float[Array, "..."]]:
        return {
            "effective_sharpness": effective_sharpness(problem, tx, state, MODES),
            "gradient_norm": optax.tree.norm(jax.grad(problem.loss)(state.params)),
        }

    return observe


def flow_observer(
    problem: Problem, tx: optax.GradientTransformation
) -> Callable[[rodflow.PhaseState], dict[str, Float[Array, ""]]]:
    """Return a function of the centre of a flow: the largest effective sharpness."""

    def observe(state: rodflow.PhaseState) -> dict[str, Float[Array, ""]]:
        return {"effective_sharpness": effective_sharpness(problem, tx, state)[0]}

    return observe


def effective_sharpness(
    problem: Problem, tx: optax.GradientTransformation, state: rodflow.PhaseState, k: int = 1
) -> Float[Array, " k"]:
    """Return the k largest, in the metric of the chain; `factors` precondition with matrices."""
    elementwise = optax.tree.get(state.opt_state, "factors") is None
    return rodflow.effective_sharpness(problem.loss, tx, state, k, elementwise)
