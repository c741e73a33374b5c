"""Training losses: the mean over samples and positions of a loss of outputs against targets."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def squared_error(
    outputs: Float[Array, "*batch outputs"], targets: Float[Array, "*batch outputs"]
) -> Float[Array, ""]:
    """Mean over samples and positions of half the squared error, summed over outputs."""
    return 0.5 * jnp.mean(jnp.sum((outputs - targets) ** 2, axis=-1))


def cross_entropy(
    outputs: Float[Array, "*batch outputs"], targets: Float[Array, "*batch outputs"]
) -> Float[Array, ""]:
    """Mean over samples and positions of `-sum(targets * log_softmax(outputs))`."""
    return -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(outputs), axis=-1))


def mean_output(
    outputs: Float[Array, "*batch outputs"], targets: Float[Array, "*batch outputs"]
) -> Float[Array, ""]:
    """Mean of the outputs themselves, for a model whose output is its loss."""
    del targets
    return jnp.mean(outputs)
