"""Checks of the data of minibatches, and of the loss of one."""

from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from rodflow._checks import check_count, shown


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
