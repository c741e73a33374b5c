"""The keys of `configs/data/`: the arguments of the functions in `experiments.problems.data`.

The functions know how many samples they have, and refuse a size out of that range and whatever
else depends on the data. The ranges here are those of the other numbers.
"""

from dataclasses import dataclass

from omegaconf import MISSING

from experiments.configuration.ranges import check, check_at_least


@dataclass
class DigitsConfig:
    """Arguments of `experiments.problems.data.digits.digits`."""

    _target_: str = MISSING
    size: int = MISSING


@dataclass
class MNISTConfig:
    """Arguments of `experiments.problems.data.mnist.mnist`."""

    _target_: str = MISSING
    size: int = MISSING
    side: int = MISSING


@dataclass
class MNIST1DConfig:
    """Arguments of `experiments.problems.data.mnist1d.mnist1d`."""

    _target_: str = MISSING
    size: int = MISSING
    seed: int = MISSING

    def __post_init__(self):
        _check_seed(self.seed)


@dataclass
class PatchesConfig:
    """Arguments of `experiments.problems.data.patches.patches`."""

    _target_: str = MISSING
    size: int = MISSING
    side: int = MISSING


@dataclass
class CIFAR10Config:
    """Arguments of `experiments.problems.data.cifar10.cifar10`."""

    _target_: str = MISSING
    folder: str = MISSING
    size: int = MISSING
    classes: int = MISSING
    side: int = MISSING


@dataclass
class SequencesConfig:
    """Arguments of the functions in `experiments.problems.data.sequences`."""

    _target_: str = MISSING
    size: int = MISSING
    length: int = MISSING
    symbols: int = MISSING
    seed: int = MISSING

    def __post_init__(self):
        check_at_least("data.length", self.length, 1)
        check_at_least("data.symbols", self.symbols, 2)
        _check_seed(self.seed)


@dataclass
class TextConfig:
    """Arguments of `experiments.problems.data.text.text`."""

    _target_: str = MISSING
    size: int = MISSING
    length: int = MISSING


@dataclass
class NothingConfig:
    """`experiments.problems.data.nothing.nothing` has no arguments."""

    _target_: str = MISSING


def _check_seed(seed: int) -> None:
    check("data.seed", seed, 0 <= seed < 2**32, "from 0 to 2^32 - 1")


SCHEMAS = {
    "digits_schema": DigitsConfig,
    "mnist_schema": MNISTConfig,
    "mnist1d_schema": MNIST1DConfig,
    "patches_schema": PatchesConfig,
    "cifar10_schema": CIFAR10Config,
    "sequences_schema": SequencesConfig,
    "text_schema": TextConfig,
    "nothing_schema": NothingConfig,
}
