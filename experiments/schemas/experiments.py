"""The keys of `configs/experiment/`: the fields of the studies in `experiments.studies`."""

from dataclasses import dataclass

from omegaconf import MISSING

from experiments.schemas.functions import Loss
from experiments.schemas.ranges import check, check_above_zero, check_at_least


@dataclass
class RectificationConfig:
    """Fields of `experiments.studies.rectification.Rectification`."""

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
        check("experiment.seed", self.seed, 0 <= self.seed < 2**32, "from 0 to 2^32 - 1")


@dataclass
class CoevolutionConfig:
    """Fields of `experiments.studies.coevolution.Coevolution`."""

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
        seed = self.architecture_seed
        check("experiment.architecture_seed", seed, 0 <= seed < 2**32, "from 0 to 2^32 - 1")


SCHEMAS = {
    "coevolution_schema": CoevolutionConfig,
    "rectification_schema": RectificationConfig,
}
