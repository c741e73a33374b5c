"""The keys of `configs/experiment/`: the fields of the studies in `experiments.studies`."""

from dataclasses import dataclass

from omegaconf import MISSING

from experiments.schemas.ranges import check, check_at_least


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


SCHEMAS = {
    "rectification_schema": RectificationConfig,
}
