"""Functions that a configuration can name."""

import enum

from hydra.utils import get_method


class NamedFunction(enum.Enum):
    """A member is called like the function that its value names."""

    def __call__(self, *args):
        """Call the function."""
        return get_method(self.value)(*args)


class Loss(NamedFunction):
    """Losses between outputs and targets."""

    squared_error = "experiments.problems.losses.squared_error"
    cross_entropy = "experiments.problems.losses.cross_entropy"
    mean_output = "experiments.problems.losses.mean_output"


class Activation(NamedFunction):
    """Elementwise functions between the layers of a network."""

    tanh = "jax.nn.tanh"
    relu = "jax.nn.relu"
    gelu = "jax.nn.gelu"
    elu = "jax.nn.elu"
    silu = "jax.nn.silu"
    softplus = "jax.nn.softplus"
    sigmoid = "jax.nn.sigmoid"
    identity = "jax.nn.identity"


class Toy(NamedFunction):
    """Losses of a few parameters."""

    quartic = "experiments.problems.models.toy.quartic"
    square_root = "experiments.problems.models.toy.square_root"
    rank_one = "experiments.problems.models.toy.rank_one"
    valley = "experiments.problems.models.toy.valley"
