"""The methods, what one step of each costs, and whether it has a learning rate to be tuned.

What costs something is an evaluation on the samples of a step: a gradient, which brings its loss
along, or a loss alone. One step takes one gradient; Armijo's line search evaluates the loss at each
step size that it tries, that of L-BFGS loss and gradient, of which the last serve the next step.

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
    """A chain, built from a learning rate and the share B/n of the samples that a step sees."""

    label: str
    chain: Callable[[Float[Array, ""], float], optax.GradientTransformationExtraArgs]
    learning_rate: float | None = None
    """What is not tuned: the default; None where there is one to be tuned."""
    gradients: Callable[[Any], Count] = lambda state: 1
    """Of a step, by the state after it."""
    losses: Callable[[Any], Count] = lambda state: 0
    before: int = 0
    """Gradients before the first step."""
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


METHODS = {
    "sgd": Method("SGD", lambda lr, share: optax.with_extra_args_support(optax.sgd(lr))),
    "heavy_ball": Method(
        "heavy ball",
        lambda lr, share: optax.with_extra_args_support(optax.sgd(lr, momentum=MOMENTUM)),
    ),
    "adam_default": Method(
        "Adam, default",
        lambda lr, share: optax.with_extra_args_support(optax.adam(lr)),
        learning_rate=ADAM_DEFAULT,
    ),
    "adam": Method("Adam, tuned", lambda lr, share: optax.with_extra_args_support(optax.adam(lr))),
    "armijo": Method("SGD + Armijo", armijo, learning_rate=1.0, losses=_searched),
    "polyak": Method(
        "Polyak",
        lambda lr, share: optax.polyak_sgd(max_learning_rate=LARGEST_STEP, scaling=lr),
        learning_rate=1.0,
    ),
    "cocob": Method(
        "COCOB",
        lambda lr, share: optax.with_extra_args_support(optax.contrib.cocob(lr)),
        learning_rate=1.0,
    ),
    "lbfgs": Method(
        "L-BFGS",
        lambda lr, share: optax.lbfgs(),
        learning_rate=1.0,
        gradients=_searched,
        before=1,
        needs_all_samples=True,
    ),
}
