"""Linear algebra on a few vectors, kept as the rows of a pytree.

Every leaf of the pytree has a leading axis of rows; leaves that are None take no part. A metric is
a pytree of positive weights, one for each entry of a row.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from rodflow.linalg.decompositions import eigh


def one(tree: PyTree) -> PyTree:
    """Make a single row of a vector."""
    return jax.tree.map(lambda x: x[None], tree)


def gram(a: PyTree, b: PyTree, metric: PyTree | None = None) -> Float[Array, "i j"]:
    """Compute the inner products of the rows of `a` and `b`, in `metric` if given."""
    if metric is not None:
        b = jax.tree.map(jnp.multiply, b, metric)
    products = jax.tree.map(lambda x, y: jnp.einsum("i...,j...->ij", x, y), a, b)
    return jax.tree.reduce(jnp.add, products)


def along(rows: PyTree, vector: PyTree) -> Float[Array, " rows"]:
    """Compute the inner product of each row with a vector."""
    products = jax.tree.map(lambda x, y: jnp.einsum("i...,...->i", x, y), rows, vector)
    return jax.tree.reduce(jnp.add, products)


def combine(matrix: Float[Array, "i j"], rows: PyTree) -> PyTree:
    """Compute the linear combinations `matrix @ rows`."""
    return jax.tree.map(lambda x: jnp.tensordot(matrix, x, 1).astype(x.dtype), rows)


def orthonormal(rows: PyTree, metric: PyTree | None = None) -> PyTree:
    """Return the orthonormal rows nearest to `rows`, in `metric` if given (Löwdin's)."""
    return combine(inverse_root(gram(rows, rows, metric)), rows)


def pick(rows: PyTree, index: int | Int[Array, ""]) -> PyTree:
    """Return the row at `index`, as a vector."""
    return jax.tree.map(lambda x: x[index], rows)


def root(matrix: Float[Array, "r r"]) -> Float[Array, "r r"]:
    """Compute the symmetric square root of the positive part of a symmetric matrix."""
    values, vectors = eigh(matrix)
    return (vectors * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.T


def inverse(matrix: Float[Array, "r r"], floor: Float[Array, ""]) -> Float[Array, "r r"]:
    """Compute the inverse of the positive part of a symmetric matrix plus `floor`."""
    values, vectors = eigh(matrix)
    return (vectors / (jnp.maximum(values, 0) + floor)) @ vectors.T


def inverse_root(matrix: Float[Array, "r r"], least: float = 0.0) -> Float[Array, "r r"]:
    """Compute the symmetric inverse square root of a positive matrix.

    Args:
        matrix: The symmetric matrix.
        least: A lower bound that eigenvalues are raised to, against rounding.

    Returns:
        The inverse square root.
    """
    values, vectors = eigh(matrix)
    return (vectors / jnp.sqrt(jnp.maximum(values, least))) @ vectors.T
