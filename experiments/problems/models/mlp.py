"""A multilayer perceptron in Flax NNX, and its boundary to plain pytrees.

`rodflow` and Optax see the parameters as nested dictionaries of arrays:
`{"layers": {0: {"kernel": (in, out), "bias": (out,)}, 1: ...}}`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree


class Model(NamedTuple):
    """A network as two pure functions; both work under `jit`, `grad` and `vmap`."""

    init: Callable[[Key[Array, ""]], PyTree[Float[Array, "..."]]]
    """Random key -> parameters."""
    apply: Callable[[PyTree[Float[Array, "..."]], Float[Array, "samples features"]], Array]
    """Parameters, inputs -> outputs of shape `(samples, outputs)`."""


class MLP(nnx.Module):
    """Dense layers with an activation between them, none after the last.

    Weights are drawn from `N(0, gain^2 / fan_in)`, biases start at 0 (MATH.md section 8).
    """

    def __init__(
        self,
        sizes: Sequence[int],
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
        self.activation = activation

    def __call__(self, inputs: Float[Array, "samples features"]) -> Float[Array, "samples outputs"]:
        """Return the outputs of the network."""
        *hidden, last = self.layers
        for layer in hidden:
            inputs = self.activation(layer(inputs))
        return last(inputs)


def mlp(
    in_size: int,
    out_size: int,
    *,
    width: int,
    depth: int,
    activation: Callable[[Array], Array],
    gain: float,
) -> Model:
    """Build a multilayer perceptron with `depth` hidden layers of `width` units.

    Args:
        in_size: number of features of a sample.
        out_size: number of outputs.
        width: units in each hidden layer.
        depth: number of hidden layers; 0 makes the network linear.
        activation: elementwise function after each hidden layer.
        gain: standard deviation of the weights in units of `1 / sqrt(fan_in)`.
    """
    sizes = (in_size, *[width] * depth, out_size)

    def network(key: Key[Array, ""]) -> MLP:
        return MLP(sizes, activation, gain, rngs=nnx.Rngs(key))

    graph, _ = nnx.split(nnx.eval_shape(network, jax.random.key(0)))

    def init(key: Key[Array, ""]) -> PyTree[Float[Array, "..."]]:
        return nnx.to_pure_dict(nnx.state(network(key)))

    def apply(
        params: PyTree[Float[Array, "..."]], inputs: Float[Array, "samples features"]
    ) -> Float[Array, "samples outputs"]:
        return nnx.merge(graph, params)(inputs)

    return Model(init, apply)
