"""The keys of `configs/data/`: the arguments of the functions in `experiments.problems.data`."""

from dataclasses import dataclass

from omegaconf import MISSING


@dataclass
class DigitsConfig:
    """Arguments of `experiments.problems.data.digits.digits`, which knows how many there are."""

    _target_: str = MISSING
    size: int = MISSING


SCHEMAS = {"digits_schema": DigitsConfig}
