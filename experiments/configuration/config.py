"""The configuration of a run: which keys exist, of what type, in what range.

The values stand in `configs/`, every default exactly once; the dataclasses here are the schemas
that Hydra checks them against, and `__post_init__` checks the ranges of a complete configuration.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import MISSING, DictConfig, OmegaConf

from experiments.configuration import data, models
from experiments.configuration import studies as experiments
from experiments.configuration.functions import Loss
from experiments.configuration.grid import GridConfig
from experiments.configuration.ranges import check
from experiments.configuration.sweep import DistributedConfig, SweepConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclass
class OptimizerConfig:
    """A name of `experiments.setup.optimizers.CONSTRUCTORS`, and the arguments of what it names."""

    name: str = MISSING
    learning_rate: float = MISSING
    hyperparameters: dict[str, float] = MISSING

    def __post_init__(self):
        check("optimizer.learning_rate", self.learning_rate, self.learning_rate > 0, "above 0")
        for name, value in self.hyperparameters.items():
            key = f"optimizer.hyperparameters.{name}"
            if name in ("b1", "b2"):
                check(key, value, 0 <= value < 1, "at least 0 and below 1")
            else:
                check(key, value, value >= 0, "at least 0")


@dataclass
class RunConfig:
    """Everything that a run depends on. Each group is a folder of `configs/`.

    With a `grid`, a study of many cells, the cells have their own optimizer, model, data and seeds.
    With a `sweep`, the run has many lanes, which differ in the numbers that the sweep names.
    """

    optimizer: Any = MISSING  # by its own schema an OptimizerConfig
    model: Any = MISSING
    data: Any = MISSING
    loss: Loss = MISSING
    chunks: int | None = MISSING
    seed: int | None = MISSING
    warmup: int = MISSING
    num_steps: int = MISSING
    every: int = MISSING
    twins: int = MISSING
    kappa: float | None = MISSING
    grid: GridConfig | None = None
    sweep: SweepConfig | None = None
    distributed: DistributedConfig | None = None

    def __post_init__(self):
        for key in ("optimizer", "model", "data", "seed"):
            if self.grid is None and getattr(self, key) is None:
                raise ValueError(f"{key} has no value")
            if self.grid is not None and getattr(self, key) is not None:
                raise ValueError(f"{key} is set, but the cells of a grid have their own: see grid")
        if self.grid is not None and self.sweep is not None:
            raise ValueError("grid and sweep are both set: a sweep is of one optimizer and problem")
        if self.seed is not None:
            check("seed", self.seed, 0 <= self.seed < 2**32, "from 0 to 2^32 - 1")
        if self.chunks is not None:
            check("chunks", self.chunks, self.chunks >= 1, "at least 1")
        check("warmup", self.warmup, self.warmup >= 0, "at least 0")
        check("every", self.every, self.every >= 1, "at least 1")
        check("num_steps", self.num_steps, self.num_steps >= 1, "at least 1")
        multiple = self.num_steps % self.every == 0
        check("num_steps", self.num_steps, multiple, f"a multiple of every={self.every}")
        check("twins", self.twins, self.twins >= 0, "at least 0")
        if self.kappa is not None:
            check("kappa", self.kappa, self.kappa >= 0, "at least 0")


@dataclass
class StudyConfig:
    """A study of `experiments.studies`, instantiated from its keys."""

    experiment: Any = MISSING


def register() -> None:
    """Tell Hydra the schemas that the files in `configs/` name in their defaults lists."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunConfig)
    store.store(name="study_schema", node=StudyConfig)
    store.store(group="optimizer", name="optimizer_schema", node=OptimizerConfig)
    groups = {
        "model": models.SCHEMAS,
        "data": data.SCHEMAS,
        "experiment": experiments.SCHEMAS,
    }
    for group, schemas in groups.items():
        for name, node in schemas.items():
            store.store(group=group, name=name, node=node)


def checked(config: DictConfig) -> Any:
    """Turn a composed configuration into dataclasses, which checks all keys and ranges.

    Returns:
        A `RunConfig` or a `StudyConfig`, whichever the configuration is by its own schema.

    Raises:
        ValueError: a key is unknown, has no value, or has one out of range.
    """
    _check_keys(config)
    return OmegaConf.to_object(config)


def _check_keys(config: DictConfig, prefix: str = "") -> None:
    # On the command line `+key=value` adds a key that the schema lacks, which to_object() drops,
    # and `~key` removes one, which to_object() passes on as "???".
    schema = OmegaConf.get_type(config)
    if not is_dataclass(schema):
        return
    known = [entry.name for entry in fields(schema)]
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
    if GlobalHydra.instance().is_initialized():  # inside of the application
        return checked(compose("run", list(overrides)))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return checked(compose("run", list(overrides)))


def choices(overrides: Sequence[str]) -> dict[str, Any]:
    """Return which file of each group a configuration is composed of."""
    register()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        composed = compose("run", list(overrides), return_hydra_config=True)
    return dict(composed.hydra.runtime.choices)


def identity(config: RunConfig) -> str:
    """Return as YAML what the numbers of a run depend on, without who computes how many of them."""
    told = [entry.name for entry in fields(config) if entry.name not in ("sweep", "distributed")]
    return OmegaConf.to_yaml(OmegaConf.masked_copy(OmegaConf.structured(config), told))


def with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Return a copy with other values at some keys, unchecked: they may be traced.

    Args:
        config: of a run.
        values: by key, as in `{"optimizer.learning_rate": 0.1}`.
    """
    changed = copy.deepcopy(config)
    for key, value in values.items():
        *path, last = key.split(".")
        owner: Any = changed
        for name in path:
            owner = getattr(owner, name)
        if isinstance(owner, dict):
            owner[last] = value
        else:
            setattr(owner, last, value)
    return changed
