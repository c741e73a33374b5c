"""The configuration of each command: which keys exist, of what type, in what range.

The dataclasses here are the schemas that Hydra checks `configs/run.yaml`, `configs/sweep.yaml` and
the grids of `configs/study/` against, with all defaults. What a run or a study is built of has its
keys and defaults in the builder: `experiments.configuration.derive` makes schemas of them.
"""

import copy
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import MISSING, DictConfig, OmegaConf

from experiments.configuration.derive import schema
from experiments.configuration.functions import Loss
from experiments.configuration.grid import GridConfig
from experiments.configuration.ranges import (
    Natural,
    Positive,
    Seed,
    above,
    at_least,
    check_values,
    within,
)
from experiments.configuration.sweep import DistributedConfig, SweepConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
BUILT = ("model", "data", "study")
"""Groups of `configs/` whose files name a builder as `_target_`."""


@dataclass
class OptimizerConfig:
    """An Optax chain.

    Attributes:
        name: one of `experiments.setup.optimizers.CONSTRUCTORS`, or a path such as optax.lion.
        learning_rate: the step size.
        hyperparameters: the other arguments of what `name` names.
    """

    name: str = MISSING
    learning_rate: Annotated[float, above(0)] = MISSING
    hyperparameters: Annotated[dict[str, float], at_least(0)] = MISSING

    def check_together(self) -> None:
        """Refuse decays of 1 or more."""
        for name in ("b1", "b2"):
            below_one = within(lambda decay: decay < 1, "at least 0 and below 1")
            below_one.check(f"optimizer.hyperparameters.{name}", self.hyperparameters.get(name))


@dataclass
class TrackedConfig:
    """The keys of a run and of every run of a grid.

    The steps suffice for every optimizer in `configs/optimizer/` to reach the edge of stability and
    stay there.

    Attributes:
        loss: squared_error or cross_entropy; mean_output with model=toy.
        chunks: equal pieces of the data whose gradients are accumulated; null: all at once.
        warmup: discrete steps before tracking starts.
        num_steps: steps that are tracked, a multiple of `every`.
        every: steps between two records.
        twins: runs started one rounding unit away; their spread is the floor.
        kappa: seed of the rod, a fraction of the drift; null: 2^13 rounding units, 1e-3 in float32.
    """

    loss: Loss = Loss.squared_error
    chunks: Annotated[int | None, at_least(1)] = None
    warmup: Natural = 20
    num_steps: Positive = 600
    every: Positive = 10
    twins: Natural = 4
    kappa: Annotated[float | None, at_least(0)] = None

    def check_together(self) -> None:
        if self.num_steps % self.every:
            raise ValueError(
                f"num_steps={self.num_steps} is out of range: it must be a multiple of "
                f"every={self.every}"
            )


@dataclass
class RunConfig(TrackedConfig):
    """The keys of `python -m experiments run`: all that the numbers of a run depend on.

    Attributes:
        optimizer: a file of `configs/optimizer/`.
        model: a file of `configs/model/`.
        data: a file of `configs/data/`.
        seed: of the initial weights and of the twins.
    """

    optimizer: Any = MISSING  # by its own schema an OptimizerConfig
    model: Any = MISSING
    data: Any = MISSING
    seed: Seed = 0


@dataclass
class SweptConfig(RunConfig):
    """The keys of `python -m experiments sweep`: a run whose lanes differ in numbers.

    Attributes:
        sweep: the axes of the lanes.
        distributed: where the other processes are, if they have to know of each other.
    """

    sweep: SweepConfig = field(default_factory=SweepConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)


@dataclass
class GridStudyConfig(TrackedConfig):
    """The keys of `python -m experiments study` for a grid of runs.

    Attributes:
        grid: the optimizers and problems.
    """

    grid: GridConfig = field(default_factory=GridConfig)


@dataclass
class QuestionConfig:
    """The key of `python -m experiments study` for a question: the arguments of its study."""

    study: Any = MISSING


COMMANDS = {"run": [RunConfig], "sweep": [SweptConfig], "study": [QuestionConfig, GridStudyConfig]}
"""Commands that take a configuration, and the schemas that it may have."""


def register() -> None:
    """Tell Hydra the schemas that the files in `configs/` name in their defaults lists."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunConfig)
    store.store(name="sweep_schema", node=SweptConfig)
    store.store(name="grid_schema", node=GridStudyConfig)
    store.store(group="optimizer", name="optimizer_schema", node=OptimizerConfig)
    for group in BUILT:
        for path in (CONFIGS / group).glob("*.yaml"):
            if target := target_of(path):
                store.store(group=group, name=f"{path.stem}_schema", node=schema(target))


def target_of(path: Path) -> str | None:
    """Return the builder that a file of `configs/` names, if it names one."""
    found = re.search(r"^_target_: (\S+)", path.read_text(), re.MULTILINE)
    return found[1] if found else None


def builder(built: Any) -> str:
    """Return the path of what builds a model, a data set or a study, from its configuration."""
    return built["_target_"] if isinstance(built, Mapping) else built._target_


def checked(config: DictConfig) -> Any:
    """Turn a composed configuration into dataclasses, which checks all keys and ranges.

    Returns:
        A dataclass of `COMMANDS`, whichever the configuration is by its own schema.

    Raises:
        ValueError: a key is unknown, has no value, or has one out of range.
    """
    if not is_dataclass(OmegaConf.get_type(config)):  # a study whose file says what its keys are
        config = OmegaConf.merge(QuestionConfig, config)  # pyright: ignore[reportAssignmentType]
    _check_keys(config)
    found = OmegaConf.to_object(config)
    check_values(found)
    return found


def _check_keys(config: DictConfig, prefix: str = "") -> None:
    # On the command line `+key=value` adds a key that the schema lacks, which to_object() drops,
    # and `~key` removes one, which to_object() passes on as "???".
    kind = OmegaConf.get_type(config)
    known = [entry.name for entry in fields(kind)] if is_dataclass(kind) else list(config)
    for key in config:
        if key not in known:
            allowed = ", ".join(name for name in known if not str(name).startswith("_"))
            raise ValueError(f"{prefix}{key}: no such key; the keys here are {allowed}")
    for key in known:
        if key not in config or OmegaConf.is_missing(config, key):
            raise ValueError(f"{prefix}{key} has no value")
        if isinstance(config[key], DictConfig):
            _check_keys(config[key], f"{prefix}{key}.")


def load(overrides: Sequence[str] = ()) -> RunConfig:
    """Compose a configuration as `python -m experiments run` would.

    Args:
        overrides: as on the command line, for example `["optimizer=gd", "model.width=64"]`.
    """
    return checked(composed("run", overrides))


def load_sweep(overrides: Sequence[str] = ()) -> SweptConfig:
    """Compose a configuration as `python -m experiments sweep` would."""
    return checked(composed("sweep", overrides))


def load_study(overrides: Sequence[str]) -> Any:
    """Compose a configuration as `python -m experiments study` would."""
    return checked(composed("study", overrides))


def check_overrides(overrides: Sequence[str]) -> None:
    """Refuse what Hydra stumbles over while it composes.

    Raises:
        ValueError: an override names no key, or gives a group something other than a name.
    """
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        if not override.key_or_group:
            raise ValueError(f"{override.input_line}: it names no key; write KEY=VALUE")
        is_group = (CONFIGS / override.key_or_group).is_dir()
        if is_group and isinstance(override.value(), list | dict):
            raise ValueError(
                f"{override.input_line}: a group takes the name of a file, as in optimizer=adam"
            )


def composed(command: str, overrides: Sequence[str], **options: Any) -> DictConfig:
    """Compose the configuration of a command, unchecked."""
    register()
    check_overrides(overrides)
    if GlobalHydra.instance().is_initialized():  # inside of the application
        return compose(command, list(overrides), **options)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(command, list(overrides), **options)


def identity(config: RunConfig) -> str:
    """Return as YAML what the numbers of a run depend on, without who computes how many of them."""
    told = [entry.name for entry in fields(RunConfig)]
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
        owner: Any = functools.reduce(getattr, path, changed)
        if isinstance(owner, dict):
            owner[last] = value
        else:
            setattr(owner, last, value)
    return changed
