"""Batches of data, and the loss of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rodflow.maps.minibatches import Minibatches


class Batch(NamedTuple):
    """Samples, and the key of what else is random in their loss.

    Attributes:
        data: The samples, a pytree of arrays.
        key: The key of dropout or augmentation.

    Examples:
        >>> import jax, jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w, batch: jnp.mean((w - batch) ** 2)
        >>> iteration = rodflow.MinibatchIteration(loss, jnp.arange(4.0), 2, optax.sgd(0.5))
        >>> iteration.batch(jax.random.key(0), 0).data.shape
        (2,)
    """

    data: PyTree
    key: PRNGKeyArray


class BatchLoss(eqx.Module):
    """The loss of a batch, and its mean over all data as a function of the parameters.

    Args:
        function: The loss, of parameters and a batch or of parameters, a batch and a key.
        data: Arrays, or a function that draws a batch from a key.
        batch_size: The number of samples in a batch; None if a function draws them.
        keyed: True if the loss takes a key.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from rodflow.maps import Batch, BatchLoss
        >>> distance = lambda w, batch: jnp.mean((w - batch) ** 2)
        >>> loss = BatchLoss(distance, jnp.arange(4.0), batch_size=2, keyed=False)
        >>> loss.samples
        4
        >>> float(loss.of(jnp.array(0.0), Batch(jnp.array([1.0, 3.0]), jax.random.key(0))))
        5.0
    """

    function: Callable[..., Float[Array, ""]]
    data: PyTree
    batch_size: int | None = eqx.field(static=True)
    keyed: bool = eqx.field(static=True)

    @property
    def samples(self) -> int:
        """The number of samples of the data."""
        if callable(self.data):
            raise ValueError(
                "The data are drawn by a function, so that there is no mean over all of them; a "
                "full batch needs `data` to be arrays."
            )
        return jax.tree.leaves(self.data)[0].shape[0]

    def of(self, params: PyTree, batch: Batch) -> Float[Array, ""]:
        """Return the loss of a batch."""
        key = (batch.key,) if self.keyed else ()
        return self.function(params, batch.data, *key)

    def parts(self, order: Int[Array, " n"] | None = None) -> tuple[PyTree, PyTree | None]:
        """Return the data as batches, stacked, and the samples that are left over, or None.

        Args:
            order: The order of the samples; as they are for None.
        """
        count, rest = divmod(self.samples, self.batch_size or 1)
        split = count * (self.batch_size or 1)
        data = self.data if order is None else jax.tree.map(lambda x: x[order], self.data)
        whole = jax.tree.map(lambda x: x[:split].reshape(count, -1, *x.shape[1:]), data)
        return whole, jax.tree.map(lambda x: x[split:], data) if rest else None

    def __call__(self, params: PyTree) -> Float[Array, ""]:
        """Return the mean over all samples, with one batch in memory, for one fixed key."""
        key = jax.random.key(0)
        whole, rest = self.parts()
        mean = Minibatches(lambda w, data: self.of(w, Batch(data, key)), whole)(params)
        if rest is None:
            return mean
        share = (self.samples % (self.batch_size or 1)) / self.samples
        return (1 - share) * mean + share * self.of(params, Batch(rest, key))
