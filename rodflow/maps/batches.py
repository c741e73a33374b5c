"""Batches of data, and the loss of one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rodflow._checks import check_count, shown
from rodflow.maps.minibatches import Minibatches


class Batch(NamedTuple):
    """Samples, and the key of what else is random in their loss.

    Attributes:
        data: The samples, a pytree of arrays.
        key: The key of dropout or augmentation.
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


def takes_key(loss: object) -> bool:
    """Return True for a loss of parameters, a batch and a key, False for one without key."""
    if not callable(loss):
        raise ValueError(
            f"`batch_loss` is {shown(loss)}; it must be a function of parameters and a batch."
        )
    try:
        signature = inspect.signature(loss)
    except ValueError:
        return False
    for count in (3, 2):
        try:
            signature.bind(*range(count))
        except TypeError:
            continue
        return count == 3
    raise ValueError(
        f"`batch_loss` takes {signature}; it must take parameters and a batch, or parameters, a "
        "batch and a key."
    )


def checked_data(data: PyTree, batch_size: int | None, replacement: bool) -> PyTree[Array]:
    """Return data as arrays; raise a `ValueError` if they cannot be divided into batches."""
    leaves = jax.tree.leaves(data)
    counts = [jnp.shape(leaf)[0] if jnp.ndim(leaf) else 0 for leaf in leaves]
    if not counts or min(counts) < 1 or min(counts) != max(counts):
        raise ValueError(
            f"The arrays of `data` have {counts} samples; it must be one number, at least 1, along "
            "the first axis of each."
        )
    if batch_size is None:
        raise ValueError("`batch_size` is None; it must be an integer where the data are arrays.")
    check_count("batch_size", batch_size, 1)
    if batch_size > counts[0]:
        raise ValueError(
            f"`batch_size` is {batch_size}; it must be at most the number of samples, {counts[0]}."
        )
    if not replacement and counts[0] % batch_size:
        raise ValueError(
            f"`batch_size` is {batch_size}; without replacement it must divide the number of "
            f"samples, {counts[0]}."
        )
    return jax.tree.map(jnp.asarray, data)
