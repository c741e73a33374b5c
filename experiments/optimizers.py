"""Optimizers that a configuration names, as Optax chains."""

import inspect

import optax

import rodflow
from experiments.config import OptimizerConfig


def configured(config: OptimizerConfig) -> optax.GradientTransformation:
    """Build the Optax chain that a configuration names; its numbers may be traced.

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
    return constructor(config.learning_rate, **config.hyperparameters)
