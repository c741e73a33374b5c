"""The keys of `configs/experiment/`: the fields of the studies in `experiments.studies`."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from experiments.configuration.functions import Loss
from experiments.configuration.ranges import (
    check,
    check_above_zero,
    check_apart,
    check_at_least,
    check_seeds,
)


@dataclass
class RectificationConfig:
    """Fields of `experiments.studies.rectification.study.Rectification`."""

    _target_: str = MISSING
    b2s: list[float] = MISSING
    steps: int = MISSING
    b2: float = MISSING
    means: list[float] = MISSING
    trajectories: int = MISSING
    simulated_steps: int = MISSING
    seed: int = MISSING

    def __post_init__(self):
        for key, values in (("b2s", self.b2s), ("means", self.means)):
            if not values:
                raise ValueError(f"experiment.{key} is empty: it must name at least one")
        for b2 in (*self.b2s, self.b2):
            check("experiment.b2", b2, 0.6 < b2 < 1, "above 0.6 and below 1")
        check_at_least("experiment.steps", self.steps, 1)
        check_at_least("experiment.trajectories", self.trajectories, 2)
        check_at_least("experiment.simulated_steps", self.simulated_steps, 1)
        check_seeds("experiment.seed", [self.seed])


@dataclass
class WarmupConfig:
    """Fields of `experiments.studies.warmup.study.Warmup`."""

    _target_: str = MISSING
    problem: list[str] = MISSING
    train: int = MISSING
    test: int = MISSING
    batch: int = MISSING
    steps: int = MISSING
    measurements: int = MISSING
    b2: float = MISSING
    eps: float = MISSING
    warmups: list[int] = MISSING
    wait: int = MISSING
    learning_rates: list[float] = MISSING
    shown: float = MISSING
    inits: int = MISSING
    members: int = MISSING
    seed: int = MISSING

    def __post_init__(self):
        for key in ("train", "test", "batch", "steps", "measurements", "wait", "inits"):
            check_at_least(f"experiment.{key}", getattr(self, key), 1)
        check_at_least("experiment.members", self.members, 2)
        check("experiment.b2", self.b2, 0.6 < self.b2 < 1, "above 0.6 and below 1")
        check_above_zero("experiment.eps", self.eps)
        for key in ("warmups", "learning_rates"):
            if not getattr(self, key):
                raise ValueError(f"experiment.{key} is empty: it must name at least one")
        for warmup in self.warmups:
            check_at_least("experiment.warmups", warmup, 2)
        for rate in self.learning_rates:
            check_above_zero("experiment.learning_rates", rate)
        for key in ("warmups", "learning_rates"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"experiment.{key}={values} names one of them twice")
        if self.shown not in self.learning_rates:
            raise ValueError(
                f"experiment.shown={self.shown} is none of experiment.learning_rates="
                f"{self.learning_rates}"
            )
        check_seeds("experiment.seed", [self.seed])


@dataclass
class BeyondNetworksConfig:
    """Fields of `experiments.studies.beyond_networks.study.BeyondNetworks`."""

    _target_: str = MISSING
    kernel_samples: int = MISSING
    digit: int = MISSING
    bandwidth: float = MISSING
    samples: int = MISSING
    features: int = MISSING
    margins: list[float] = MISSING
    ranks: list[int] = MISSING
    data_seed: int = MISSING
    batch_size: int = MISSING
    minibatch_passes: int = MISSING
    full_batch_passes: int = MISSING
    records: int = MISSING
    tuning_seeds: list[int] = MISSING
    test_seeds: list[int] = MISSING

    def __post_init__(self):
        least = {"samples": 2, "features": 2, "batch_size": 1, "records": 1}
        least |= {"minibatch_passes": 1, "full_batch_passes": 2}
        for key, value in least.items():
            check_at_least(f"experiment.{key}", getattr(self, key), value)
        inside = 1 <= self.kernel_samples < 1797
        check("experiment.kernel_samples", self.kernel_samples, inside, "from 1 to 1796")
        check("experiment.digit", self.digit, 0 <= self.digit <= 9, "from 0 to 9")
        check_above_zero("experiment.bandwidth", self.bandwidth)
        for margin in self.margins:
            check_above_zero("experiment.margins", margin)
        for rank in self.ranks:
            check("experiment.ranks", rank, 1 <= rank <= 10, "from 1 to 10")
        fewest = min(self.samples, self.kernel_samples)
        size = self.batch_size
        check("experiment.batch_size", size, size < fewest, f"below the {fewest} samples")
        check_seeds("experiment.data_seed", [self.data_seed])
        check_apart("experiment", self.tuning_seeds, self.test_seeds)


@dataclass
class RootFreeConfig:
    """Fields of `experiments.studies.root_free.study.RootFree`."""

    _target_: str = MISSING
    _recursive_: bool = False  # data and models are built by the study
    data: Any = MISSING
    models: dict[str, Any] = MISSING
    mlp: Any = MISSING
    train_samples: int = MISSING
    validation_samples: int = MISSING
    batch_size: int = MISSING
    steps: int = MISSING
    learning_rates: dict[str, list[float]] = MISSING
    weight_decay: list[float] = MISSING
    forgetting: list[float] = MISSING
    renewal: list[float] = MISSING
    configurations: int = MISSING
    search_seed: int = MISSING
    tuning_seeds: list[int] = MISSING
    test_seeds: list[int] = MISSING
    half_precision: list[str] = MISSING
    scaling_batch_sizes: list[int] = MISSING
    scaling_epochs: int = MISSING
    scaling_memory: int = MISSING
    scaling_rates: dict[str, list[float]] = MISSING
    scaling_rungs: int = MISSING
    scaling_seeds: list[int] = MISSING
    curvatures: int = MISSING
    quadratic_rate: float = MISSING
    quadratic_steps: int = MISSING
    edge_samples: int = MISSING
    edge_rates: dict[str, float] = MISSING
    edge_rungs: int = MISSING
    edge_steps: int = MISSING
    timed_steps: int = MISSING

    def __post_init__(self):
        least = {"train_samples": 1, "validation_samples": 1, "batch_size": 1, "steps": 1}
        least |= {"configurations": 1, "scaling_epochs": 1, "scaling_memory": 1, "edge_rungs": 1}
        least |= {"scaling_rungs": 3, "curvatures": 2, "quadratic_steps": 1, "edge_samples": 1}
        least |= {"edge_steps": 20, "timed_steps": 1}
        for key, value in least.items():
            check_at_least(f"experiment.{key}", getattr(self, key), value)
        ranges = {f"learning_rates.{name}": pair for name, pair in self.learning_rates.items()}
        ranges |= {f"scaling_rates.{name}": pair for name, pair in self.scaling_rates.items()}
        ranges |= {key: getattr(self, key) for key in ("weight_decay", "forgetting", "renewal")}
        for key, pair in ranges.items():
            if not (len(pair) == 2 and 0 < pair[0] < pair[1]):
                raise ValueError(f"experiment.{key}={pair}: it must be [LEAST, MOST], above 0")
        for size in (self.batch_size, *self.scaling_batch_sizes):
            inside = 1 <= size <= self.train_samples
            check("experiment.batch_size", size, inside, f"from 1 to {self.train_samples}")
        for name in self.half_precision:
            if name not in self.models:
                raise ValueError(f"experiment.half_precision: {name} is not in experiment.models")
        for name, rate in self.edge_rates.items():
            check_above_zero(f"experiment.edge_rates.{name}", rate)
        check_above_zero("experiment.quadratic_rate", self.quadratic_rate)
        check_seeds("experiment.search_seed", [self.search_seed])
        check_seeds("experiment.scaling_seeds", self.scaling_seeds)
        check_apart("experiment", self.tuning_seeds, self.test_seeds)


@dataclass
class CoevolutionConfig:
    """Fields of `experiments.studies.coevolution.study.Coevolution`."""

    _target_: str = MISSING
    architectures: int = MISSING
    architecture_seed: int = MISSING
    optimizers: dict[str, float] = MISSING
    points: int = MISSING
    spacing: float = MISSING
    widening: int = MISSING
    widenings: int = MISSING
    search_seeds: list[int] = MISSING
    test_seeds: list[int] = MISSING
    steps: int = MISSING
    training: int = MISSING
    held_out: int = MISSING
    loss: Loss = MISSING
    lanes: int = MISSING
    selected: int = MISSING
    tolerance: float = MISSING
    draws: int = MISSING
    loop_runs: int = MISSING

    def __post_init__(self):
        for name, rate in self.optimizers.items():
            check_above_zero(f"experiment.optimizers.{name}", rate)
        for name in ("search_seeds", "test_seeds"):
            seeds = getattr(self, name)
            if not seeds:
                raise ValueError(f"experiment.{name} is empty: it must name at least one")
            for seed in seeds:
                check(f"experiment.{name}", seed, 0 <= seed < 2**32, "from 0 to 2^32 - 1")
        seeds = [*self.search_seeds, *self.test_seeds]
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"experiment.test_seeds={self.test_seeds}: seeds must differ")
        odd = self.points % 2 == 1
        check("experiment.points", self.points, odd and self.points >= 3, "odd and at least 3")
        for name in ("spacing", "tolerance"):
            check_above_zero(f"experiment.{name}", getattr(self, name))
        check_at_least("experiment.tolerance", self.tolerance, 1)
        check_at_least("experiment.widenings", self.widenings, 0)
        for name in ("widening", "steps", "training", "held_out", "lanes", "draws", "loop_runs"):
            check_at_least(f"experiment.{name}", getattr(self, name), 1)
        check_at_least("experiment.architectures", self.architectures, 2)
        check(
            "experiment.selected",
            self.selected,
            1 <= self.selected < self.architectures,
            "at least 1 and fewer than the architectures",
        )
        check_seeds("experiment.architecture_seed", [self.architecture_seed])


SCHEMAS = {
    "coevolution_schema": CoevolutionConfig,
    "root_free_schema": RootFreeConfig,
    "beyond_networks_schema": BeyondNetworksConfig,
    "rectification_schema": RectificationConfig,
    "warmup_schema": WarmupConfig,
}
