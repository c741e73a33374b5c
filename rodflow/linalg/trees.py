"""Pytrees as vectors: their norm, and random ones from a single draw.

One draw fills a whole tree. A draw for each leaf would put as many random number generators into a
compiled program, which can take longer to compile than the gradient of a network.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree


class Nothing(NamedTuple):
    """An empty tuple that is an object of its own."""


def without_empty_tuples(tree: PyTree) -> PyTree:
    """Return `tree` with `Nothing` in place of every `()`.

    Python has one `()` only, and Equinox, which finds places in a tree by their objects, mistakes
    one for another: Diffrax cannot solve for a state that contains it.
    """

    def is_empty(node: PyTree) -> bool:
        return type(node) is tuple and not node

    return jax.tree.map(lambda node: Nothing() if is_empty(node) else node, tree, is_leaf=is_empty)


def norm(tree: PyTree) -> Float[Array, ""]:
    """Compute the Euclidean norm over all leaves, squared in single precision at least."""
    wide = jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32)), tree)
    return optax.tree.norm(wide).astype(float)


def finite(tree: PyTree) -> Bool[Array, ""]:
    """Return True if all numbers of all leaves are finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def alike(a: PyTree, b: PyTree) -> bool:
    """Return True if two trees have one structure, and leaves of the same shapes."""
    shapes = [[jnp.shape(leaf) for leaf in jax.tree.leaves(tree)] for tree in (a, b)]
    return jax.tree.structure(a) == jax.tree.structure(b) and shapes[0] == shapes[1]


def normal_like(key: PRNGKeyArray, tree: PyTree) -> PyTree[Float[Array, "..."]]:
    """Draw standard normal numbers of the shapes and dtypes of `tree`."""
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(tree)]
    dtype = jnp.promote_types(jnp.result_type(*dtypes), jnp.float32)
    drawn = _split(jax.random.normal(key, (_size(tree),), dtype), tree)
    return jax.tree.map(lambda x, like: x.astype(like.dtype), drawn, tree)


def coins_like(key: PRNGKeyArray, tree: PyTree) -> PyTree[Bool[Array, "..."]]:
    """Draw fair coins of the shapes of `tree`."""
    return _split(jax.random.bernoulli(key, shape=(_size(tree),)), tree)


def _size(tree: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _split(flat: Array, tree: PyTree) -> PyTree[Array]:
    leaves, structure = jax.tree.flatten(tree)
    ends = np.cumsum([leaf.size for leaf in leaves])
    parts = jnp.split(flat, ends[:-1])
    return structure.unflatten(
        [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    )
