"""Eigenpairs of a slowly changing matrix, followed by a few products with it.

Along a run of training the leading eigenvectors of the Hessian turn slowly. From m approximate
eigenvectors, of which the k leading ones are wanted, the Rayleigh-Ritz method finds the best
approximations within their span and that of k residuals (Knyazev 2001, Toward the optimal
preconditioned eigensolver, without its preconditioner). The vectors beyond the k-th keep what
was found of the rest of the spectrum, as the conjugate directions do there.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow.linalg import rows
from rodflow.linalg.decompositions import eigh
from rodflow.linalg.lanczos import Eigenpairs

# Gram matrices of unit vectors are inverted up to this, in units of rounding.
_LEAST = 64


def refine_eigenpairs(product: Callable[[PyTree], PyTree], vectors: PyTree, k: int) -> Eigenpairs:
    """Improve approximate eigenvectors of a symmetric matrix A, by m + k products for m vectors.

    Args:
        product: The function v -> A v of a pytree.
        vectors: The m >= k vectors, as the rows of a pytree, in descending order of eigenvalues.
        k: The number of leading ones whose residuals are taken into account.

    Returns:
        m eigenpairs.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.linalg import refine_eigenpairs
        >>> diagonal, near = jnp.array([5.0, 3.0, 1.0]), jnp.array([[1.0, 0.1, 0.1]])
        >>> for _ in range(3):
        ...     values, near, _ = refine_eigenpairs(lambda v: diagonal * v, near, k=1)
        ...     print(f"{values[0]:.4f}")
        4.9956
        4.9997
        5.0000
    """
    m = len(jax.tree.leaves(vectors)[0])
    vectors = _orthonormal(vectors)
    pairs, left, images = _ritz(vectors, jax.vmap(product)(vectors))
    left = _unit(jax.tree.map(lambda x: x[:k], left))
    for _ in range(2):
        inside = rows.combine(rows.gram(left, pairs.vectors), pairs.vectors)
        left = jax.tree.map(jnp.subtract, left, inside)
    left = _orthonormal(left)
    basis, images = (
        jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *both)
        for both in ((pairs.vectors, left), (images, jax.vmap(product)(left)))
    )
    pairs, _, _ = _ritz(basis, images)
    return Eigenpairs(*jax.tree.map(lambda x: x[:m], tuple(pairs)))


def _ritz(basis: PyTree, images: PyTree) -> tuple[Eigenpairs, PyTree, PyTree]:
    """Return the eigenpairs within an orthonormal basis, their residuals and their images."""
    matrix = rows.gram(basis, images)
    values, turn = eigh((matrix + matrix.T) / 2)
    values, turn = values[::-1], turn[:, ::-1].T
    vectors, images = rows.combine(turn, basis), rows.combine(turn, images)
    left = jax.tree.map(jnp.subtract, images, rows.combine(jnp.diag(values), vectors))
    return Eigenpairs(values, vectors, _lengths(left)), left, images


def _orthonormal(vectors: PyTree) -> PyTree:
    """Return orthonormal vectors of the same span, and zeros for what is only rounding."""
    kind = jnp.finfo(jnp.result_type(*jax.tree.leaves(vectors)))
    least = _LEAST * float(kind.eps)
    return rows.combine(rows.inverse_root(rows.gram(vectors, vectors), least), vectors)


def _unit(vectors: PyTree) -> PyTree:
    """Return the vectors over their lengths, and zeros as they are."""
    lengths = _lengths(vectors)
    return rows.combine(jnp.diag(1 / jnp.where(lengths > 0, lengths, 1)), vectors)


def _lengths(vectors: PyTree) -> Float[Array, " m"]:
    return jnp.sqrt(jnp.diagonal(rows.gram(vectors, vectors)))
