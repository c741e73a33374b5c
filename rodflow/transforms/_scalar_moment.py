"""The second moment of scalar methods: one number, the average of the squared gradient norm."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def init_scalar_moment(params: Any) -> jax.Array:
    """Return a zero moment for ``params``, in a dtype that can hold their squared norm.

    The dtype is at least float32: a bfloat16 sum of ones stops at 256, and b2 = 0.999 rounds to 1
    in bfloat16, so that the average would never forget. One float32 scalar costs no memory, while
    Optax's elementwise moments keep the dtype of the parameters because they would cost some.

    Args:
      params: A pytree of arrays, possibly empty (as under :func:`optax.masked`).

    Returns:
      A zero of shape (), real: float64 if any leaf has that precision, float32 otherwise.
    """
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(params))
    return jnp.zeros([], jnp.finfo(dtype).dtype)  # finfo maps a complex dtype to its real one


def update_scalar_moment(updates: Any, nu: jax.Array, b2: jax.typing.ArrayLike) -> jax.Array:
    """Compute the exponential moving average of the squared global norm.

    Args:
      updates: A pytree of real or complex gradients.
      nu: The moment so far, shape ().
      b2: Decay rate.

    Returns:
      The new moment, shape () and dtype of ``nu``.
    """
    # Cast before squaring: float16 squares overflow at 256, bfloat16 squares keep 8 bits.
    wide = jax.tree.map(lambda g: g.astype(jnp.promote_types(g.dtype, nu.dtype)), updates)
    moment = (1 - b2) * optax.tree.norm(wide, squared=True) + b2 * nu
    # b2 may be an array wider than nu; the state keeps its dtype so that no later call recompiles.
    return jnp.asarray(moment, nu.dtype)
