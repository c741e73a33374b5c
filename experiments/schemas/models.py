"""The keys of `configs/model/`: the arguments of the functions in `experiments.problems.models`."""

from dataclasses import dataclass

from omegaconf import MISSING

from experiments.schemas.functions import Activation
from experiments.schemas.ranges import check_above_zero, check_at_least


@dataclass
class MLPConfig:
    """Arguments of `experiments.problems.models.mlp.mlp`."""

    _target_: str = MISSING
    width: int = MISSING
    depth: int = MISSING
    activation: Activation = MISSING
    gain: float = MISSING

    def __post_init__(self):
        check_at_least("model.width", self.width, 1)
        check_at_least("model.depth", self.depth, 0)
        check_above_zero("model.gain", self.gain)


SCHEMAS = {"mlp_schema": MLPConfig}
