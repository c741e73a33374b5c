"""A multilayer perceptron in Flax NNX."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated

from flax import nnx
from jaxtyping import Array, Float

from experiments.configuration.functions import Activation
from experiments.configuration.ranges import Positive, above, at_least
from experiments.problems.models.model import Model, from_network


class MLP(nnx.Module):
    """Dense layers with an activation between them, none after the last.

    Weights are drawn from `N(0, gain^2 / fan_in)`, biases start at 0.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        output_shape: Sequence[int],
        activation: Callable[[Array], Array],
        gain: float,
        *,
        rngs: nnx.Rngs,
    ):
        kernel_init = nnx.initializers.variance_scaling(gain**2, "fan_in", "normal")
        self.layers = nnx.List(
            nnx.Linear(fan_in, fan_out, kernel_init=kernel_init, rngs=rngs)
            for fan_in, fan_out in pairwise(sizes)
        )
        self.output_shape = tuple(output_shape)
        self.activation = activation

    def __call__(self, inputs: Float[Array, "samples *shape"]) -> Float[Array, "samples *outputs"]:
        """Return the outputs of the network; the inputs are flattened."""
        samples = inputs.shape[0]
        hidden = inputs.reshape(samples, -1)
        for layer in self.layers[:-1]:
            hidden = self.activation(layer(hidden))
        return self.layers[-1](hidden).reshape(samples, *self.output_shape)


def mlp(
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    width: Positive = 32,
    depth: Annotated[int, at_least(0)] = 3,
    activation: Activation = Activation.tanh,
    gain: Annotated[float, above(0)] = 0.7,
) -> Model:
    """Build a multilayer perceptron with `depth` hidden layers of `width` units.

    Args:
        input_shape: shape of a sample, of any rank.
        output_shape: shape of the outputs for a sample, of any rank.
        width: units in each hidden layer.
        depth: number of hidden layers; 0 makes the network linear.
        activation: elementwise function after each hidden layer.
        gain: standard deviation of the weights in units of `1 / sqrt(fan_in)`.
    """
    sizes = (math.prod(input_shape), *[width] * depth, math.prod(output_shape))
    return from_network(lambda rngs: MLP(sizes, output_shape, activation, gain, rngs=rngs))
