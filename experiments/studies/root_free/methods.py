"""The methods that are compared: each a chain of four hyperparameters and a batch size.

All are searched along the same four axes, so that the same number of random configurations is the
same budget. In if_shampoo, which has no memory of squared gradients, `renewal` is the learning rate
of its factors; SGD has no preconditioner, and its `renewal` does nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

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


Chain = Callable[[Any, optax.ScalarOrSchedule, int], optax.GradientTransformation]


METHODS: dict[str, Chain] = {
    "sgd": lambda h, schedule, _: optax.chain(
        optax.add_decayed_weights(h.weight_decay),
        optax.trace(1 - h.forgetting),
        optax.scale_by_learning_rate(schedule),
    ),
    "adamw": lambda h, schedule, _: optax.adamw(
        schedule, 1 - h.forgetting, 1 - h.renewal, weight_decay=h.weight_decay
    ),
    "rf_adamw": lambda h, schedule, batch_size: rodflow.rf_adamw(
        schedule, batch_size, 1 - h.forgetting, 1 - h.renewal, weight_decay=h.weight_decay
    ),
    # As in the comparison of the paper: the momentum is the trace of preconditioned gradients.
    "rmsprop": lambda h, schedule, _: optax.chain(
        optax.scale_by_rms(1 - h.renewal, eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(h.weight_decay),
        optax.trace(1 - h.forgetting),
        optax.scale_by_learning_rate(schedule),
    ),
    "rf_rmsprop": lambda h, schedule, batch_size: rodflow.rf_rmsprop(
        schedule,
        batch_size,
        b2=1 - h.renewal,
        momentum=1 - h.forgetting,
        weight_decay=h.weight_decay,
    ),
    "if_shampoo": lambda h, schedule, batch_size: rodflow.if_shampoo(
        schedule,
        batch_size,
        momentum=1 - h.forgetting,
        weight_decay=h.weight_decay,
        factor_learning_rate=h.renewal,
    ),
}
"""Name -> (hyperparameters, schedule of the learning rate, batch size) -> Optax chain."""
