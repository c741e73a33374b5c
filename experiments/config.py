"""The configuration of a run: which keys exist, of what type, in what range.

The values stand in `configs/`, every default exactly once; the dataclasses here are the schemas
that Hydra checks them against, and `__post_init__` checks the ranges of a complete configuration.
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.utils import get_method
from omegaconf import MISSING, DictConfig, OmegaConf

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


class NamedFunction(enum.Enum):
    """Functions that a configuration can name. A member is called like the function itself."""

    def __call__(self, *args):
        """Call the function."""
        return get_method(self.value)(*args)


class Loss(NamedFunction):
    """Losses between outputs and targets."""

    squared_error = "experiments.problems.losses.squared_error"
    cross_entropy = "experiments.problems.losses.cross_entropy"


class Activation(NamedFunction):
    """Elementwise functions between the layers of a network."""

    tanh = "jax.nn.tanh"
    relu = "jax.nn.relu"
    gelu = "jax.nn.gelu"
    elu = "jax.nn.elu"
    softplus = "jax.nn.softplus"
    sigmoid = "jax.nn.sigmoid"
    identity = "jax.nn.identity"


@dataclass
class OptimizerConfig:
    """Arguments of `rodflow.OPTIMIZERS[name]`: `(learning_rate, **hyperparameters)`."""

    name: str = MISSING
    learning_rate: float = MISSING
    hyperparameters: dict[str, float] = MISSING

    def __post_init__(self):
        _check("optimizer.learning_rate", self.learning_rate, self.learning_rate > 0, "above 0")
        for name, value in self.hyperparameters.items():
            key = f"optimizer.hyperparameters.{name}"
            if name in ("b1", "b2"):
                _check(key, value, 0 <= value < 1, "at least 0 and below 1")
            else:
                _check(key, value, value >= 0, "at least 0")


@dataclass
class DigitsConfig:
    """Arguments of `experiments.problems.data.digits`, which knows how many there are."""

    _target_: str = MISSING
    size: int = MISSING


@dataclass
class MLPConfig:
    """Arguments of `experiments.problems.models.mlp.mlp`."""

    _target_: str = MISSING
    width: int = MISSING
    depth: int = MISSING
    activation: Activation = MISSING
    gain: float = MISSING

    def __post_init__(self):
        _check("model.width", self.width, self.width >= 1, "at least 1")
        _check("model.depth", self.depth, self.depth >= 0, "at least 0")
        _check("model.gain", self.gain, self.gain > 0, "above 0")


@dataclass
class RunConfig:
    """Everything that a run depends on. Each group is a folder of `configs/`."""

    optimizer: OptimizerConfig = MISSING
    model: Any = MISSING
    data: Any = MISSING
    loss: Loss = MISSING
    seed: int = MISSING
    warmup: int = MISSING
    num_steps: int = MISSING
    every: int = MISSING
    twins: int = MISSING
    kappa: float = MISSING

    def __post_init__(self):
        _check("seed", self.seed, 0 <= self.seed < 2**32, "from 0 to 2^32 - 1")
        _check("warmup", self.warmup, self.warmup >= 0, "at least 0")
        _check("every", self.every, self.every >= 1, "at least 1")
        _check("num_steps", self.num_steps, self.num_steps >= 1, "at least 1")
        multiple = self.num_steps % self.every == 0
        _check("num_steps", self.num_steps, multiple, f"a multiple of every={self.every}")
        _check("twins", self.twins, self.twins >= 0, "at least 0")
        _check("kappa", self.kappa, self.kappa >= 0, "at least 0")


def _check(key: str, value: int | float, inside: bool, allowed: str) -> None:
    if not (inside and math.isfinite(value)):
        raise ValueError(f"{key}={value} is out of range: it must be {allowed}")


def register() -> None:
    """Tell Hydra the schemas that the files in `configs/` name in their defaults lists."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunConfig)
    store.store(group="optimizer", name="optimizer_schema", node=OptimizerConfig)
    store.store(group="model", name="mlp_schema", node=MLPConfig)
    store.store(group="data", name="digits_schema", node=DigitsConfig)


def checked(config: DictConfig) -> RunConfig:
    """Turn a composed configuration into dataclasses, which checks all keys and ranges.

    Raises:
        ValueError: a key is unknown, has no value, or has one out of range.
    """
    _check_keys(config)
    return cast(RunConfig, OmegaConf.to_object(config))


def _check_keys(config: DictConfig, prefix: str = "") -> None:
    # On the command line `+key=value` adds a key that the schema lacks, which to_object() drops,
    # and `~key` removes one, which to_object() passes on as "???".
    schema = OmegaConf.get_type(config)
    if not is_dataclass(schema):
        return
    known = [field.name for field in fields(schema)]
    for key in config:
        if key not in known:
            allowed = ", ".join(name for name in known if not name.startswith("_"))
            raise ValueError(f"{prefix}{key}: no such key; the keys here are {allowed}")
    for key in known:
        if key not in config or OmegaConf.is_missing(config, key):
            raise ValueError(f"{prefix}{key} has no value")
        if isinstance(config[key], DictConfig):
            _check_keys(config[key], f"{prefix}{key}.")


def load(overrides: Sequence[str] = ()) -> RunConfig:
    """Compose a configuration as the command line would, for use from Python.

    Args:
        overrides: as on the command line, for example `["optimizer=gd", "model.width=64"]`.
    """
    register()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return checked(compose("run", list(overrides)))
