"""The methods, the evaluations that a step of each takes, and their learning rates.

An evaluation on the samples of a step costs: a gradient, which brings its loss along, or a loss
alone. One step takes one gradient; Armijo's line search evaluates the loss at each step size that
it tries, that of L-BFGS loss and gradient, of which the last serve the next step.

Armijo as in Vaswani et al. 2019 (arXiv 1905.09997), section 7: c = .1, backtracking by .9, the
first try 2^(B/n) times the last step size and at most 10.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import optax
from jaxtyping import Array, Float

ADAM_DEFAULT = 1e-3
LARGEST_STEP = 10.0
MOMENTUM = 0.9

Count = int | Array


class Method(NamedTuple):
    """A method of optimization.

    Attributes:
        label: the name in tables and figures.
        chain: learning rate and share B/n of the samples that a step sees -> Optax chain.
        learning_rate: the default of a method that is not tuned; None for one that is.
        gradients: state after a step -> gradients that the step took.
        losses: state after a step -> losses that the step took.
        before: gradients before the first step.
        needs_all_samples: True for a method without minibatches.
    """

    label: str
    chain: Callable[[Float[Array, ""], float], optax.GradientTransformation]
    learning_rate: float | None = None
    gradients: Callable[[Any], Count] = lambda state: 1
    losses: Callable[[Any], Count] = lambda state: 0
    before: int = 0
    needs_all_samples: bool = False


def _searched(state: Any) -> Array:
    return optax.tree.get(state, "info").num_linesearch_steps


def armijo(learning_rate, share):
    """Gradient descent whose steps decrease the loss sufficiently."""
    return optax.chain(
        optax.sgd(learning_rate),
        optax.scale_by_backtracking_linesearch(
            max_backtracking_steps=100,
            slope_rtol=0.1,
            decrease_factor=0.9,
            increase_factor=2.0**share,
            max_learning_rate=LARGEST_STEP,
        ),
    )


def polyak(learning_rate, _):
    """Gradient descent with steps of Polyak, for an infimum of 0."""
    return optax.polyak_sgd(max_learning_rate=LARGEST_STEP, scaling=learning_rate)


METHODS = {
    "sgd": Method("SGD", lambda lr, _: optax.sgd(lr)),
    "heavy_ball": Method("heavy ball", lambda lr, _: optax.sgd(lr, momentum=MOMENTUM)),
    "adam_default": Method("Adam, default", lambda lr, _: optax.adam(lr), ADAM_DEFAULT),
    "adam": Method("Adam, tuned", lambda lr, _: optax.adam(lr)),
    "armijo": Method("SGD + Armijo", armijo, 1.0, losses=_searched),
    "polyak": Method("Polyak", polyak, 1.0),
    "cocob": Method("COCOB", lambda lr, _: optax.contrib.cocob(lr), 1.0),
    "lbfgs": Method(
        "L-BFGS",
        lambda *_: optax.lbfgs(),
        1.0,
        gradients=_searched,
        before=1,
        needs_all_samples=True,
    ),
}
