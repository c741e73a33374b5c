"""Optimizers that a configuration names, as Optax chains."""

import inspect

import optax
from jaxtyping import Array, Float

import rodflow
from experiments.config import OptimizerConfig


def configured(
    config: OptimizerConfig, learning_rate: Float[Array, ""] | None = None
) -> optax.GradientTransformation:
    """Build the Optax chain that a configuration names.

    Args:
        config: name and hyperparameters.
        learning_rate: in place of the configured one; it may be traced.

    Raises:
        ValueError: there is no such optimizer, or it has no such hyperparameter.
    """
    if config.name not in rodflow.OPTIMIZERS:
        allowed = ", ".join(rodflow.OPTIMIZERS)
        raise ValueError(f"optimizer.name={config.name}: no such optimizer; choose from {allowed}")
    constructor = rodflow.OPTIMIZERS[config.name]
    known = [name for name in inspect.signature(constructor).parameters if name != "learning_rate"]
    for name in config.hyperparameters:
        if name not in known:
            raise ValueError(
                f"optimizer.hyperparameters.{name}: {config.name} has no such hyperparameter; "
                f"it has {', '.join(known)}"
            )
    rate = config.learning_rate if learning_rate is None else learning_rate
    return constructor(rate, **config.hyperparameters)
