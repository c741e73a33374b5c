"""Pytrees of one structure as vectors, with reductions by leaf."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree


class Flat(NamedTuple):
    """Pytrees of one structure as vectors."""

    like: PyTree
    size: int
    sizes: Int[Array, " leaves"]
    leaf: Int[Array, " elements"]

    @classmethod
    def of(cls, like: PyTree) -> Flat:
        sizes = np.array([leaf.size for leaf in jax.tree.leaves(like)], int)
        size = int(sizes.sum())
        leaf = jnp.searchsorted(jnp.cumsum(sizes), jnp.arange(size), side="right")
        return cls(like, size, jnp.asarray(sizes), leaf)

    def vector(self, tree: PyTree, dtype: jnp.dtype) -> Array:
        parts = [leaf.reshape(-1).astype(dtype) for leaf in jax.tree.leaves(tree)]
        return jnp.concatenate([jnp.zeros(0, dtype), *parts])

    def tree(self, vector: Array) -> PyTree:
        leaves, structure = jax.tree.flatten(self.like)
        ends = np.cumsum([0, *(leaf.size for leaf in leaves)])
        return structure.unflatten(
            vector[start:end].reshape(leaf.shape).astype(leaf.dtype)
            for leaf, start, end in zip(leaves, ends[:-1], ends[1:], strict=True)
        )

    def every(self, true: Array) -> Array:
        """Return True for leaves all of whose elements are."""
        return self.most(~true) < 1

    def most(self, values: Array) -> Array:
        """Return the largest value of each leaf, of vectors as columns."""
        values = values.astype(int) if values.dtype == bool else values
        return jax.ops.segment_max(values, self.leaf, len(self.sizes))

    def places(self, values: Array) -> tuple[Array, Array]:
        """Return the largest value of each leaf, of vectors as columns, and their places."""
        tops = self.most(values)
        places = jnp.where(values == tops[self.leaf], jnp.arange(self.size)[:, None], self.size)
        return tops, jnp.minimum(-self.most(-places), self.size - 1)
