"""Noise on the leaves of a state that get any."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def plus(tree: PyTree, factor: Any, noise: PyTree) -> PyTree:
    """Return `tree` and, where `noise` is not None, a multiple of it."""
    return jax.tree.map(
        lambda a, n: a if n is None else a + jnp.asarray(factor, n.dtype) * n,
        tree,
        noise,
        is_leaf=lambda leaf: leaf is None,
    )
