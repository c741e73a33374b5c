"""A loss over data in minibatches: the mean of a loss of each.

    L(w) = (1/n) sum_k L_k(w),        L_k(w) = loss(w, batch k)

As a function of the parameters alone it is the full-batch loss, *accumulated*: a scan over the
batches keeps nothing of one but its loss, and its activations are computed again where a derivative
needs them (`jax.checkpoint`). So the gradient holds the activations of one batch, and so do
Hessian-vector products and third derivatives, whatever n is; the price is one more forward pass in
each derivative. A full batch that does not fit into memory is

    rodflow.Iteration(rodflow.Minibatches(loss, batches), tx)

while `rodflow.Epoch` of the same arguments takes an optimizer step on each batch in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow._checks import check_scalar, shown


class Minibatches(eqx.Module):
    """The mean of a loss over minibatches, a function of the parameters.

    Args:
        loss: A function of parameters and a batch that returns a scalar, the mean over the samples
            of the batch.
        batches: A pytree of arrays, stacked along their first axis: n batches of equal size.

    Attributes:
        batch_loss: The loss of one batch.
        batches: All batches, as arrays.

    Raises:
        ValueError: The batches are no arrays, or not equally many in each of them.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> batches = jnp.arange(6.0).reshape(3, 2)  # three batches of two samples
        >>> loss = rodflow.Minibatches(lambda w, batch: jnp.mean(w * batch), batches)
        >>> loss.count, float(loss(jnp.array(2.0)))
        (3, 5.0)
    """

    batch_loss: Callable[[PyTree, PyTree], Float[Array, ""]]
    batches: PyTree[Array]

    def __init__(self, loss: Callable[[PyTree, PyTree], Float[Array, ""]], batches: PyTree) -> None:
        if isinstance(batches, list) and batches:
            raise ValueError(
                f"`batches` is a list of {len(batches)}; it must be arrays that hold all batches, "
                "as `jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)` is (several arrays "
                "for each batch: a tuple)."
            )
        leaves = [] if isinstance(batches, Iterator) else jax.tree.leaves(batches)
        if not leaves or not all(hasattr(leaf, "shape") for leaf in leaves):
            raise ValueError(
                f"`batches` is {shown(batches)}; it must be arrays that hold all batches, stacked "
                "along their first axis (what a loader draws anew in every epoch makes no map)."
            )
        counts = [leaf.shape[0] if leaf.shape else 0 for leaf in leaves]
        if min(counts) < 1 or min(counts) != max(counts):
            raise ValueError(
                f"The arrays of `batches` have {counts} batches; it must be one number, at least 1."
            )
        self.batch_loss = loss
        self.batches = jax.tree.map(jnp.asarray, batches)

    # Compared as functions are, by identity, so that `jax.jit` takes one as it takes a function.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    @property
    def count(self) -> int:
        """The number of batches, n."""
        return jax.tree.leaves(self.batches)[0].shape[0]

    def __call__(self, params: PyTree) -> Float[Array, ""]:
        """Return the mean over the batches at `params`, with one batch's activations in memory."""
        first = jax.tree.map(lambda leaf: leaf[0], self.batches)
        dtype = check_scalar(lambda p: self.batch_loss(p, first), params)
        # Losses and, through parameters made wide here, gradients are added up in single precision
        # at least: in bfloat16 a sum of ones would end at 256.
        wide = jax.tree.map(_wide, params)

        def once(wide: PyTree, batch: PyTree) -> Float[Array, ""]:
            return _wide(
                self.batch_loss(jax.tree.map(lambda w, p: w.astype(p.dtype), wide, params), batch)
            )

        once = jax.checkpoint(once, prevent_cse=False)  # a scan needs no protection from CSE
        total, _ = jax.lax.scan(
            lambda total, batch: (total + once(wide, batch), None),
            jnp.zeros((), jnp.promote_types(dtype, jnp.float32)),
            self.batches,
        )
        return (total / self.count).astype(dtype)


def _wide(leaf: Array) -> Array:
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
