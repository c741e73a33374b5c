"""Lanczos iteration for the largest eigenvalues, robust on matrices of low rank.

The eigenvalues of a product R A of symmetric matrices, R positive, are those of A in the inner
product <g, h> = g' R h. Lanczos iteration needs A and R as functions of a vector only,

    basis g_1, g_2, .. orthonormal,     g_i+1 ~ A R g_i outside of the span of g_1 .. g_i

and the extreme eigenvalues of the matrix T_ij = (R g_i)' A (R g_j) converge long before the basis
spans the whole space. Where A has low rank, the powers of R A span a small space: the remainder of
A R g_i is then rounding, and an iteration that continued from it would find eigenvalues in the
noise. So the basis is orthogonalised twice (Parlett 1998, The Symmetric Eigenvalue Problem, section
6.9), and continued with a random vector where only rounding is left. As T is computed between all
of the basis, multiple eigenvalues and those of the null space are found as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow.linalg.decompositions import eigh, eigvalsh

_Vector = Float[Array, " n"]

# A remainder shorter than this many rounding units of the original vector is rounding.
_ROUNDING = 16


class Eigenpairs(NamedTuple):
    """Approximate eigenpairs of a symmetric matrix A.

    Attributes:
        values: The Rayleigh quotients v' A v of the vectors, in descending order.
        vectors: Orthonormal vectors, as the rows of a pytree.
        residuals: The lengths :math:`|A v - (v' A v) v|`. An eigenvalue is that close to each
            value.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.linalg import Eigenpairs
        >>> pairs = Eigenpairs(jnp.array([2.0]), jnp.array([[1.0, 0.0]]), jnp.array([0.0]))
        >>> float(pairs.residuals[0])
        0.0
    """

    values: Float[Array, " k"]
    vectors: PyTree
    residuals: Float[Array, " k"]

    def errors(self) -> Float[Array, " k"]:
        """Return estimates of the errors of the values, from the residuals, and of rounding.

        By Kato and Temple an error is at most the squared residual over the distance from all other
        eigenvalues. That is estimated from the values beside, less their residuals. Where they do
        not separate a value, eigenvalues may be missing between, and the residuals above add up.
        """
        values, left = self.values, self.residuals
        end = jnp.full(1, jnp.inf, values.dtype)
        gaps = values[:-1] - values[1:]
        gap = jnp.minimum(
            jnp.append(gaps - left[1:], end), jnp.concatenate([end, gaps - left[:-1]])
        )
        # Of the last value nothing is known that is below it.
        gap = gap.at[-1].set(jnp.where(len(values) > 1, 0, gap[-1]))
        apart = gap > left
        found = jnp.where(
            apart, left**2 / jnp.where(apart, gap, 1), jnp.cumsum(jnp.where(apart, 0, left))
        )
        return found + jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))


def largest_eigenvalues(
    product: Callable[[_Vector], _Vector],
    start: _Vector,
    k: int,
    depth: int,
    respond: Callable[[_Vector], _Vector] | None = None,
) -> Float[Array, " k"]:
    """Compute the largest eigenvalues of R A by Lanczos iteration.

    Args:
        product: The function v -> A v, called `depth` times.
        start: A vector drawn at random, from which the basis begins.
        k: The number of eigenvalues.
        depth: The number of vectors in the basis.
        respond: The function g -> R g, called `depth + 1` times; the identity for None.

    Returns:
        The eigenvalues in descending order; NaN where R is zero.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.linalg import largest_eigenvalues
        >>> diagonal, start = jnp.array([1.0, 5.0, 3.0]), jnp.array([0.3, -0.5, 0.8])
        >>> values = largest_eigenvalues(lambda v: diagonal * v, start, k=2, depth=3)
        >>> print(*(f"{value:.3f}" for value in values))
        5.000 3.000
    """
    krylov = _krylov(product, start, depth, respond)
    values = eigvalsh(krylov.tridiagonal)[::-1][:k]
    return jnp.where(krylov.typical > 0, values, jnp.nan)


def largest_eigenpairs(
    product: Callable[[_Vector], _Vector], start: _Vector, k: int, depth: int
) -> Eigenpairs:
    """Compute the largest eigenvalues of A by Lanczos iteration, with vectors and residuals.

    Args:
        product: The function v -> A v, called `depth` times.
        start: A vector drawn at random, from which the basis begins.
        k: The number of eigenpairs.
        depth: The number of vectors in the basis.

    Returns:
        The eigenpairs, of vectors of the shape of `start`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.linalg import largest_eigenpairs
        >>> diagonal, start = jnp.array([1.0, 5.0, 3.0]), jnp.array([0.3, -0.5, 0.8])
        >>> pairs = largest_eigenpairs(lambda v: diagonal * v, start, k=1, depth=3)
        >>> print(abs(pairs.vectors[0].round(3)))
        [0. 1. 0.]
    """
    krylov = _krylov(product, start, depth, None)
    values, vectors = eigh(krylov.tridiagonal)
    values, vectors = values[::-1][:k], vectors[:, ::-1].T[:k]
    # A V = V T + (what is left of the last) e_depth'
    return Eigenpairs(values, vectors @ krylov.grads, jnp.abs(vectors[:, -1]) * krylov.left)


class _Krylov(NamedTuple):
    """The basis as rows, T, the length of what the last product left, and a typical R."""

    grads: Array
    tridiagonal: Array
    left: Array
    typical: Array | float


def _krylov(
    product: Callable[[_Vector], _Vector],
    start: _Vector,
    depth: int,
    respond: Callable[[_Vector], _Vector] | None,
) -> _Krylov:
    eps = jnp.finfo(start.dtype).eps
    keys = jax.random.split(jax.random.key(1), depth)
    typical = 1.0 if respond is None else jnp.vdot(start, respond(start)) / jnp.vdot(start, start)

    def outside(v: _Vector, grads: Array, moves: Array) -> _Vector:
        for _ in range(2):
            v = v - grads.T @ (moves @ v)
        return v

    def turn(
        carry: tuple[tuple[Array, ...], _Vector], at: tuple[Array, Array]
    ) -> tuple[tuple[tuple[Array, ...], _Vector], tuple[Array, Array]]:
        bases, new = carry
        i, key = at
        images = (new,) if respond is None else (new, respond(new))
        square = jnp.vdot(images[0], images[-1])
        # A vector that R maps to rounding is replaced by zeros, which adds an eigenvalue 0.
        kept = square > eps * typical * jnp.vdot(new, new)
        scale = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, square, 1)), 0)
        bases = tuple(b.at[i].set(scale * image) for b, image in zip(bases, images, strict=True))
        grads, moves = bases[0], bases[-1]
        bent = product(moves[i])
        # Scaled to order one, so that the squared norm does not underflow.
        size = jnp.max(jnp.abs(bent))
        bent = bent / jnp.where(size > 0, size, 1)
        entries = moves @ bent
        rest = outside(bent, grads, moves)
        length = jnp.linalg.norm
        before = length(bent) + jnp.vdot(jnp.abs(entries), length(grads, axis=1))
        new = jax.lax.cond(
            length(rest) > _ROUNDING * eps * before,
            lambda: rest,
            lambda: outside(jax.random.normal(key, rest.shape, rest.dtype), grads, moves),
        )
        # The random vector is no remainder of the matrix.
        left = jnp.where(length(rest) > _ROUNDING * eps * before, length(rest), 0)
        return (bases, new), (size * entries, size * left)

    empty = jnp.zeros((depth, start.size), start.dtype)
    bases = (empty,) if respond is None else (empty, empty)
    (bases, _), (rows, left) = jax.lax.scan(turn, (bases, start), (jnp.arange(depth), keys))
    tridiagonal = jnp.tril(rows) + jnp.tril(rows, -1).T
    return _Krylov(bases[0], tridiagonal, left[-1], typical)
