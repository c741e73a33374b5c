"""The keys of `configs/model/`: the arguments of the functions in `experiments.problems.models`."""

from dataclasses import dataclass

from omegaconf import MISSING

from experiments.configuration.functions import Activation, Toy
from experiments.configuration.ranges import check, check_above_zero, check_at_least


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


@dataclass
class CNNConfig:
    """Arguments of `experiments.problems.models.cnn.cnn`."""

    _target_: str = MISSING
    width: int = MISSING
    depth: int = MISSING
    kernel: int = MISSING
    stride: int = MISSING
    activation: Activation = MISSING
    gain: float = MISSING

    def __post_init__(self):
        check_at_least("model.width", self.width, 1)
        check_at_least("model.depth", self.depth, 1)
        check_at_least("model.kernel", self.kernel, 1)
        check_at_least("model.stride", self.stride, 1)
        check_above_zero("model.gain", self.gain)


@dataclass
class ResNetConfig:
    """Arguments of `experiments.problems.models.resnet.resnet`."""

    _target_: str = MISSING
    width: int = MISSING
    stages: int = MISSING
    blocks: int = MISSING
    kernel: int = MISSING
    stem_stride: int = MISSING
    groups: int = MISSING
    activation: Activation = MISSING

    def __post_init__(self):
        check_at_least("model.width", self.width, 1)
        check_at_least("model.stages", self.stages, 1)
        check_at_least("model.blocks", self.blocks, 1)
        check_at_least("model.kernel", self.kernel, 1)
        check_at_least("model.stem_stride", self.stem_stride, 1)
        check_at_least("model.groups", self.groups, 1)


@dataclass
class ViTConfig:
    """Arguments of `experiments.problems.models.vit.vit`."""

    _target_: str = MISSING
    patch: int = MISSING
    width: int = MISSING
    depth: int = MISSING
    heads: int = MISSING
    expansion: int = MISSING
    activation: Activation = MISSING

    def __post_init__(self):
        check_at_least("model.patch", self.patch, 1)
        check_at_least("model.width", self.width, 1)
        check_at_least("model.depth", self.depth, 1)
        check_at_least("model.heads", self.heads, 1)
        check_at_least("model.expansion", self.expansion, 1)


@dataclass
class TransformerConfig:
    """Arguments of `experiments.problems.models.transformer.transformer`."""

    _target_: str = MISSING
    width: int = MISSING
    depth: int = MISSING
    heads: int = MISSING
    expansion: int = MISSING
    activation: Activation = MISSING

    def __post_init__(self):
        check_at_least("model.width", self.width, 1)
        check_at_least("model.depth", self.depth, 1)
        check_at_least("model.heads", self.heads, 1)
        check_at_least("model.expansion", self.expansion, 1)


@dataclass
class LSTMConfig:
    """Arguments of `experiments.problems.models.lstm.lstm`."""

    _target_: str = MISSING
    width: int = MISSING
    depth: int = MISSING

    def __post_init__(self):
        check_at_least("model.width", self.width, 1)
        check_at_least("model.depth", self.depth, 1)


@dataclass
class MambaConfig:
    """Arguments of `experiments.problems.models.mamba.mamba`."""

    _target_: str = MISSING
    width: int = MISSING
    depth: int = MISSING
    expansion: int = MISSING
    state: int = MISSING
    kernel: int = MISSING

    def __post_init__(self):
        check_at_least("model.width", self.width, 1)
        check_at_least("model.depth", self.depth, 1)
        check_at_least("model.expansion", self.expansion, 1)
        check_at_least("model.state", self.state, 1)
        check_at_least("model.kernel", self.kernel, 1)


PARAMETERS = {Toy.quartic: 2, Toy.square_root: 2, Toy.rank_one: 6, Toy.valley: 2}


@dataclass
class ToyConfig:
    """Arguments of `experiments.problems.models.toy.toy`."""

    _target_: str = MISSING
    function: Toy = MISSING
    start: list[float] = MISSING
    spread: float = MISSING

    def __post_init__(self):
        wanted = PARAMETERS[self.function]
        if len(self.start) != wanted:
            raise ValueError(
                f"model.start={self.start} has {len(self.start)} numbers; "
                f"model.function={self.function.name} has {wanted} parameters"
            )
        check("model.spread", self.spread, self.spread >= 0, "at least 0")


SCHEMAS = {
    "mlp_schema": MLPConfig,
    "cnn_schema": CNNConfig,
    "resnet_schema": ResNetConfig,
    "vit_schema": ViTConfig,
    "transformer_schema": TransformerConfig,
    "lstm_schema": LSTMConfig,
    "mamba_schema": MambaConfig,
    "toy_schema": ToyConfig,
}
