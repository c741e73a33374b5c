"""The second moment of root-free methods, an estimate of the curvature, and the division by it."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree


def init_curvature(params: PyTree, batch_size: jax.typing.ArrayLike) -> PyTree:
    """Return the moment 1 / B, real and in the precision of `params`: the preconditioner is 1."""
    return jax.tree.map(
        lambda p: jnp.full_like(p, 1 / batch_size, dtype=jnp.finfo(p.dtype).dtype), params
    )


def update_curvature(updates: PyTree, nu: PyTree, b2: jax.typing.ArrayLike) -> PyTree:
    """Average the squares of updates, in the dtype of the moment even if that of b2 is wider."""
    moment = optax.tree.update_moment_per_elem_norm(updates, nu, b2, 2)
    return optax.tree.cast_like(moment, nu)


def divide_by_curvature(
    updates: PyTree, nu: PyTree, batch_size: jax.typing.ArrayLike, eps: jax.typing.ArrayLike
) -> PyTree:
    """Divide updates by B s + eps and keep their dtype."""
    return jax.tree.map(lambda u, s: (u / (batch_size * s + eps)).astype(u.dtype), updates, nu)
