"""The type of a model: two pure functions, with plain pytrees at the boundary.

`rodflow` and Optax see the parameters as nested dictionaries of arrays; the Flax NNX module behind
them is split once and lives inside.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree


class Model(NamedTuple):
    """A network as two pure functions; both work under `jit`, `grad` and `vmap`."""

    init: Callable[[Key[Array, ""]], PyTree[Float[Array, "..."]]]
    """Random key -> parameters."""
    apply: Callable[[PyTree[Float[Array, "..."]], Float[Array, "samples *shape"]], Array]
    """Parameters, inputs `(samples, *input_shape)` -> outputs `(samples, *output_shape)`."""


def from_network(network: Callable[[nnx.Rngs], nnx.Module]) -> Model:
    """Turn a constructor of a Flax NNX module, all of whose state is parameters, into a model."""

    def create(key: Key[Array, ""]) -> nnx.Module:
        return network(nnx.Rngs(key))

    graph, _ = nnx.split(nnx.eval_shape(create, jax.random.key(0)))

    def init(key: Key[Array, ""]) -> PyTree[Float[Array, "..."]]:
        return nnx.to_pure_dict(nnx.state(create(key)))

    def apply(params: PyTree[Float[Array, "..."]], inputs: Float[Array, "samples *shape"]) -> Array:
        return nnx.merge(graph, params)(inputs)

    return Model(init, apply)
