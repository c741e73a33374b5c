"""Linear algebra on a few vectors kept as rows: trees whose leaves have a leading axis.

A row is a pytree; leaves that are None take no part. Metrics are trees of positive weights.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from rodflow.linalg import decompositions as linalg


def one(tree: PyTree) -> PyTree:
    """A single row."""
    return jax.tree.map(lambda x: x[None], tree)


def gram(a: PyTree, b: PyTree, metric: PyTree | None = None) -> Float[Array, "i j"]:
    """Inner products of the rows of `a` and `b`, in `metric` if given."""
    if metric is not None:
        b = jax.tree.map(jnp.multiply, b, metric)
    products = jax.tree.map(lambda x, y: jnp.einsum("i...,j...->ij", x, y), a, b)
    return jax.tree.reduce(jnp.add, products)


def along(rows: PyTree, vector: PyTree) -> Float[Array, " rows"]:
    """The inner product of each row with a vector."""
    products = jax.tree.map(lambda x, y: jnp.einsum("i...,...->i", x, y), rows, vector)
    return jax.tree.reduce(jnp.add, products)


def combine(matrix: Float[Array, "i j"], rows: PyTree) -> PyTree:
    """The rows `matrix @ rows`."""
    return jax.tree.map(lambda x: jnp.tensordot(matrix, x, 1).astype(x.dtype), rows)


def orthonormal(rows: PyTree, metric: PyTree | None = None) -> PyTree:
    """The orthonormal rows nearest to `rows`, in `metric` if given (Löwdin's)."""
    return combine(inverse_root(gram(rows, rows, metric)), rows)


def pick(rows: PyTree, index: int | Int[Array, ""]) -> PyTree:
    """The row at `index`."""
    return jax.tree.map(lambda x: x[index], rows)


def root(matrix: Float[Array, "r r"]) -> Float[Array, "r r"]:
    """The symmetric square root of the positive part."""
    values, vectors = linalg.eigh(matrix)
    return (vectors * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.T


def inverse(matrix: Float[Array, "r r"], floor: Float[Array, ""]) -> Float[Array, "r r"]:
    """The inverse of the positive part plus `floor`."""
    values, vectors = linalg.eigh(matrix)
    return (vectors / (jnp.maximum(values, 0) + floor)) @ vectors.T


def inverse_root(matrix: Float[Array, "r r"], least: float = 0.0) -> Float[Array, "r r"]:
    """The symmetric inverse square root; `least` bounds eigenvalues below, against rounding."""
    values, vectors = linalg.eigh(matrix)
    return (vectors / jnp.sqrt(jnp.maximum(values, least))) @ vectors.T
