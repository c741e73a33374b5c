"""Compensated summation (Kahan 1965, doi:10.1145/363707.363723) in any floating-point type."""

import jax
import jax.numpy as jnp


def compensated(
    value: jax.Array, change: jax.Array, remainder: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Split a change of a value into the part to add now and the remainder to add later.

    Exact but for the rounding of ``change + remainder`` and of the new remainder.

    Args:
      value: The value that the change is added to.
      change: The change, of any dtype.
      remainder: The remainder so far.

    Returns:
      The part to add now and the new remainder, both in the dtype of ``value``.
    """
    kind = jnp.finfo(value.dtype)

    # Rounded explicitly: a compiler is free to keep more bits, and the remainder would be zero.
    def rounded(x: jax.Array) -> jax.Array:
        return jax.lax.reduce_precision(x, kind.nexp, kind.nmant)

    due = rounded(change.astype(value.dtype) + remainder)
    now = rounded(rounded(value + due) - value)
    return now, rounded(due - rounded(rounded(value + now) - value))
