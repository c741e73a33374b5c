"""The methods that are compared: each a chain of four hyperparameters and a batch size.

All are searched along the same four axes, so that the same number of random configurations is the
same budget. In if_shampoo, which has no memory of squared gradients, `renewal` is the learning rate
of its factors; SGD has no preconditioner, and its `renewal` does nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax
from jaxtyping import Float

import rodflow
from experiments.studies.lanes import Numbers


class Hyperparameters(NamedTuple):
    """One configuration, or arrays of several.

    Attributes:
        learning_rate: of the method.
        weight_decay: beside the update, multiplied by the learning rate; for SGD a penalty.
        forgetting: one minus the decay rate of the momentum.
        renewal: one minus the decay rate of the preconditioner; see the module for if_shampoo.
    """

    learning_rate: Float[Numbers, "*lanes"]
    weight_decay: Float[Numbers, "*lanes"]
    forgetting: Float[Numbers, "*lanes"]
    renewal: Float[Numbers, "*lanes"]


Chain = Callable[
    [Hyperparameters, optax.ScalarOrSchedule, jax.typing.ArrayLike], optax.GradientTransformation
]


def sgd(h, schedule, batch_size):
    """Gradient descent with momentum, the trace of gradients."""
    del batch_size
    return optax.chain(
        optax.add_decayed_weights(h.weight_decay),
        optax.trace(1 - h.forgetting),
        optax.scale_by_learning_rate(schedule),
    )


def adamw(h, schedule, batch_size):
    """AdamW."""
    del batch_size
    rates = {"b1": 1 - h.forgetting, "b2": 1 - h.renewal}
    return optax.adamw(schedule, weight_decay=h.weight_decay, **rates)


def rf_adamw(h, schedule, batch_size):
    """Root-free AdamW."""
    rates = {"b1": 1 - h.forgetting, "b2": 1 - h.renewal}
    return rodflow.rf_adamw(schedule, batch_size, weight_decay=h.weight_decay, **rates)


def rmsprop(h, schedule, batch_size):
    """RMSProp with momentum."""
    # As in the comparison of the paper: the momentum is the trace of preconditioned gradients.
    del batch_size
    return optax.chain(
        optax.scale_by_rms(1 - h.renewal, eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(h.weight_decay),
        optax.trace(1 - h.forgetting),
        optax.scale_by_learning_rate(schedule),
    )


def rf_rmsprop(h, schedule, batch_size):
    """Root-free RMSProp with momentum."""
    return rodflow.rf_rmsprop(
        schedule,
        batch_size,
        b2=1 - h.renewal,
        momentum=1 - h.forgetting,
        weight_decay=h.weight_decay,
    )


def if_shampoo(h, schedule, batch_size):
    """Inverse-free Shampoo."""
    return rodflow.if_shampoo(
        schedule,
        batch_size,
        momentum=1 - h.forgetting,
        weight_decay=h.weight_decay,
        factor_learning_rate=h.renewal,
    )


METHODS: dict[str, Chain] = {
    "sgd": sgd,
    "adamw": adamw,
    "rf_adamw": rf_adamw,
    "rmsprop": rmsprop,
    "rf_rmsprop": rf_rmsprop,
    "if_shampoo": if_shampoo,
}
