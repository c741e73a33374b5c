"""Optimizers that a configuration names, as Optax chains.

The optimizers of the papers have their names in the library. Further ones have a warmup, are
compared with it, or divide by no root. Any of them takes `warmup_steps` among its hyperparameters:
with T of them, step t has min(t, T) / T times the learning rate, counted from 1 at the first step
that moves parameters.
"""

import inspect
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

import rodflow
from experiments.configuration.config import OptimizerConfig
from experiments.setup.paths import named_by_path

_ADAM = rodflow.OPTIMIZERS["adam"]
CONSTRUCTORS: Mapping[str, Callable[..., optax.GradientTransformation]] = rodflow.OPTIMIZERS | {
    "radam": optax.radam,
    "adam_2k": rodflow.adam_2k,
    # Adam under the names that the literature gives it with some hyperparameters.
    "adam_eps": _ADAM,
    "adam_warmup": _ADAM,
    "rf_rmsprop": rodflow.rf_rmsprop,
    "rf_adamw": rodflow.rf_adamw,
    "if_shampoo": rodflow.if_shampoo,
}
"""Name -> constructor(learning_rate, **hyperparameters)."""
WARMUP = "warmup_steps"
_KINDS = {int: int, "int": int, bool: bool, "bool": bool}  # annotation -> type


def configured(config: OptimizerConfig) -> optax.GradientTransformation:
    """Build the Optax chain that a configuration names; its numbers may be traced.

    Raises:
        ValueError: The optimizer does not exist, has no such hyperparameter, or lacks one.
    """
    constructor, parameters = _constructor(config.name), _parameters(config.name)
    for name in config.hyperparameters:
        if name not in (*parameters, WARMUP):
            raise ValueError(
                f"optimizer.hyperparameters.{name}: {config.name} has no such hyperparameter; "
                f"it has {', '.join((*parameters, WARMUP))}"
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in config.hyperparameters:
            raise ValueError(f"optimizer.hyperparameters.{name}: {config.name} needs a value of it")
    hyperparameters = dict(config.hyperparameters)
    rate: optax.ScalarOrSchedule = config.learning_rate
    if WARMUP in hyperparameters:
        ramp = warmed_up(rate, hyperparameters.pop(WARMUP))
        # Some optimizers have steps that do not move parameters; the ramp begins after them.
        known = {name: parameter.default for name, parameter in parameters.items()}
        wait = (known | hyperparameters).get("num_steps", 0)
        rate = lambda count: ramp(count - wait)  # noqa: E731
    for name in structural(config.name) & hyperparameters.keys():
        kind, value = _KINDS[parameters[name].annotation], hyperparameters[name]
        if kind(value) != value:
            allowed = "0 or 1" if kind is bool else "an integer"
            key = f"optimizer.hyperparameters.{name}"
            raise ValueError(f"{key}={value} is out of range: it must be {allowed}")
        hyperparameters[name] = kind(value)
    return constructor(rate, **hyperparameters)


def structural(optimizer: str) -> set[str]:
    """Return the names of hyperparameters that a program depends on and that cannot be traced."""
    parameters = _parameters(optimizer)
    return {name for name, parameter in parameters.items() if parameter.annotation in _KINDS}


def _constructor(name: str) -> Callable[..., optax.GradientTransformation]:
    if name in CONSTRUCTORS:
        return CONSTRUCTORS[name]
    if "." not in name:
        raise ValueError(
            f"optimizer.name={name}: no such optimizer; choose from {', '.join(CONSTRUCTORS)}, or "
            "give the path of a constructor, as in optax.lion"
        )
    constructor = named_by_path(f"optimizer.name={name}", name)
    if "learning_rate" not in inspect.signature(constructor).parameters:
        raise ValueError(f"optimizer.name={name}: it takes no learning_rate, so it is no optimizer")
    return constructor


def _parameters(optimizer: str) -> dict[str, inspect.Parameter]:
    """Return the parameters of a constructor but the learning rate and dtypes (not numbers)."""
    taken = inspect.signature(_constructor(optimizer)).parameters
    return {
        name: parameter
        for name, parameter in taken.items()
        if name != "learning_rate" and not name.endswith("dtype")
    }


def warmed_up(
    learning_rate: float | Float[Array, ""], steps: float | Float[Array, ""]
) -> optax.Schedule:
    """Make a linear warmup: the rate of step t, counted from 1, is min(t, T) / T of the whole."""
    return lambda count: learning_rate * jnp.minimum((count + 1) / jnp.maximum(steps, 1), 1.0)
