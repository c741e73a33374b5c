"""Small networks with their data, whose minibatches are drawn independently."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from hydra.utils import instantiate
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from experiments.configuration import config
from experiments.problems.data.dataset import Dataset

Params = Float[Array, " n"]


class Network(NamedTuple):
    """A network with its parameters in one vector, and its training data.

    Attributes:
        init: random key -> parameters.
        loss: parameters, samples -> their mean loss.
        data: all samples.
    """

    init: Callable[[Key[Array, ""]], Params]
    loss: Callable[[Params, Dataset], Float[Array, ""]]
    data: Dataset

    def whole(self, params: Params) -> Float[Array, ""]:
        """Return the loss of all samples."""
        return self.loss(params, self.data)

    def batch(self, key: Key[Array, ""], size: int) -> Dataset:
        """Draw samples, with replacement."""
        drawn = jax.random.randint(key, (size,), 0, len(self.data.inputs))
        return jax.tree.map(lambda leaf: leaf[drawn], self.data)


def network(overrides: Sequence[str]) -> Network:
    """Build what a configuration of a run, with these overrides, trains."""
    chosen = config.load(list(overrides))
    data = instantiate(chosen.data)
    shapes = {"input_shape": data.inputs.shape[1:], "output_shape": data.targets.shape[1:]}
    model = instantiate(chosen.model, **shapes)
    like = jax.eval_shape(model.init, jax.random.key(0))
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like))

    def loss(params: Params, samples: Dataset) -> Float[Array, ""]:
        return chosen.loss(model.apply(unravel(params), samples.inputs), samples.targets)

    return Network(lambda key: ravel_pytree(model.init(key))[0], loss, data)


NETWORKS = {
    "mlp": ("model=mlp", "data=digits", "data.size=512"),
    "cnn": ("model=cnn", "model.width=16", "data=mnist1d", "data.size=512", "loss=cross_entropy"),
    "text": (
        *("model=transformer", "model.width=16", "model.depth=1", "loss=cross_entropy"),
        *("data=text", "data.size=128"),
    ),
    "sorting": (
        *("model=transformer", "model.width=16", "model.depth=1", "loss=cross_entropy"),
        *("data=sorting", "data.length=6", "data.size=256"),
    ),
}
"""Name -> overrides of the configuration of a run; 1000 to 5000 parameters each."""
