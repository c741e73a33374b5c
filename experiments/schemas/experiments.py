"""The keys of `configs/experiment/`: the fields of the studies in `experiments.studies`."""

from dataclasses import dataclass

from omegaconf import MISSING

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
class WarmupConfig:
    """Fields of `experiments.studies.warmup.Warmup`."""

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
        check("experiment.seed", self.seed, 0 <= self.seed < 2**32, "from 0 to 2^32 - 1")


SCHEMAS = {
    "rectification_schema": RectificationConfig,
    "warmup_schema": WarmupConfig,
}
