"""The semidefinite complementarity problem of the central flow, solved on the device.

Given a symmetric matrix Q and a monotone linear operator B on symmetric matrices, find X with

    X >= 0,     Y = Q + B X >= 0,     <X, Y> = 0

in the order of positive semidefinite matrices (Cohen et al. 2025, arXiv 2410.24206). Its
k (k + 1) / 2 unknowns are few, so a dense Newton method will do. X and Y are the two halves of one
symmetric matrix W,

    X = (W + (W^2 + 4 mu^2)^1/2) / 2,     Y = X - W,     so that X Y = mu^2

exactly and both are positive definite; Newton's method solves Y - Q - B X = 0 for W while mu
tends to zero (the smoothing of Chen & Mangasarian 1996, Comput. Optim. Appl. 5, for matrices: Chen
& Tseng 2003, Math. Program. 95). Neither half suffers from cancellation, so that single precision
reaches its rounding error.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rodflow.linalg.decompositions import eigh, eigvalsh, solve

_MOST_ITERATIONS = 60
_DECAY = 0.1  # the factor by which mu falls once its equation is solved
_STEPS = (1.0, 0.5, 0.25, 0.0625)  # lengths of a Newton step, of which the best is taken


def complementary(q: Float[Array, "k k"], operator: Float[Array, "k k k k"]) -> Float[Array, "k k"]:
    """Solve the complementarity problem for X.

    Works under `jit` and `vmap`; each problem is iterated until it is solved to rounding.

    Args:
        q: The symmetric matrix Q.
        operator: The operator B; `operator[i, j, l, m]` is the change of entry (i, j) of Y with
            entry (l, m) of X, symmetric in (i, j) and in (l, m). It need not be symmetric as an
            operator. Where it is positive definite, X is unique.

    Returns:
        The matrix X; NaN where there is no solution, because Q has a negative direction that B
        does not reach.

    Examples:
        In one dimension, where Y = Q + 4 X:

        >>> import jax.numpy as jnp
        >>> from rodflow.linalg import complementary
        >>> x = complementary(jnp.array([[-2.0]]), jnp.full((1, 1, 1, 1), 4.0))
        >>> print(f"{x[0, 0]:.3f}")
        0.500
    """
    size = q.shape[0]
    basis = jnp.asarray(_symmetric_basis(size), q.dtype)
    eps = float(jnp.finfo(q.dtype).eps)
    last = eps**0.75  # the smallest mu: X Y = mu^2 is then below rounding
    d = _congruence(operator)
    pairs = d[:, None] * d
    q = q * pairs
    height = jnp.maximum(jnp.linalg.norm(q), jnp.finfo(q.dtype).tiny)
    target = jnp.einsum("aij,ij->a", basis, q / height)
    scaled = operator * pairs[:, :, None, None] * pairs
    matrix = jnp.einsum("aij,ijlm,blm->ab", basis, scaled, basis)
    identity = jnp.eye(len(target), dtype=q.dtype)

    def halves(w: Array, mu: Array) -> tuple[Array, Array, Array]:
        """Return X, the residual Y - Q - B X, and the derivative of X by W."""
        values, vectors = eigh(jnp.einsum("a,aij->ij", w, basis))
        roots = jnp.sqrt(values**2 + 4 * mu**2)
        # The smaller half is computed from the larger one, which avoids cancellation.
        large = (jnp.abs(values) + roots) / 2
        small = mu**2 / large
        positive = jnp.where(values > 0, large, small)
        negative = jnp.where(values > 0, small, large)
        rotated = jnp.einsum("pi,apq,qj->aij", vectors, basis, vectors)
        x = jnp.einsum("aii,i->a", rotated, positive)
        y = jnp.einsum("aii,i->a", rotated, negative)
        slope = (1 + (values[:, None] + values) / (roots[:, None] + roots)) / 2
        derivative = jnp.einsum("aij,ij,bij->ab", rotated, slope, rotated)
        return x, y - target - matrix @ x, derivative

    class Iterate(NamedTuple):
        w: Array
        mu: Array
        error: Array
        improving: Array
        count: Array

    def going(at: Iterate) -> Array:
        return (at.count < _MOST_ITERATIONS) & at.improving

    def newton(at: Iterate) -> Iterate:
        _, residual, derivative = halves(at.w, at.mu)
        jacobian = derivative - identity - matrix @ derivative
        direction = -solve(jacobian, residual)
        tried = at.w + jnp.asarray(_STEPS, q.dtype)[:, None] * direction
        errors = jax.vmap(lambda w: jnp.linalg.norm(halves(w, at.mu)[1]))(tried)
        best = jnp.argmin(errors)
        error = errors[best]
        mu = jnp.where(error < at.mu, jnp.maximum(_DECAY * at.mu, last), at.mu)
        # At the smallest mu only rounding is left once Newton's method improves no further.
        improving = (at.mu > last) | (error < at.error / 2)
        improving = improving & jnp.isfinite(error)
        return Iterate(tried[best], mu, error, improving, at.count + 1)

    # X = 0 solves the problem where Q >= 0.
    slack = eigvalsh(q)[0] >= 0
    mu = jnp.where(slack, 0, jnp.ones((), q.dtype))
    start = Iterate(-target, mu, jnp.asarray(jnp.inf, q.dtype), ~slack, jnp.asarray(0))
    found = jax.lax.while_loop(going, newton, start)
    x, _, _ = halves(found.w, found.mu)
    solved = slack | ((found.mu <= last) & (found.error < eps**0.5))
    x = jnp.where(solved, x, jnp.nan)
    return jnp.einsum("a,aij->ij", x, basis) * height * pairs


def kkt_residual(
    x: Float[Array, "k k"], q: Float[Array, "k k"], operator: Float[Array, "k k k k"]
) -> Float[Array, ""]:
    """Compute || X - (X - Y)_+ || / || Q ||, which is 0 if and only if X solves the problem.

    Norms are taken after the congruence by which `complementary` brings the operator to order one.

    Args:
        x: The matrix X.
        q: The symmetric matrix Q.
        operator: The operator B, as in `complementary`.

    Returns:
        The relative residual.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.linalg import kkt_residual
        >>> q, identity = jnp.array([[-2.0]]), jnp.ones((1, 1, 1, 1))
        >>> float(kkt_residual(jnp.array([[2.0]]), q, identity))  # X = 2 makes Y = 0
        0.0
        >>> float(kkt_residual(jnp.array([[1.0]]), q, identity))
        0.5
    """
    d = _congruence(operator)
    pairs = d[:, None] * d
    y = (q + jnp.einsum("ijlm,lm->ij", operator, x)) * pairs
    x = x / pairs
    values, vectors = eigh(x - y)
    projected = (vectors * jnp.maximum(values, 0)) @ vectors.T
    return jnp.linalg.norm(x - projected) / jnp.linalg.norm(q * pairs)


def _congruence(operator: Float[Array, "k k k k"]) -> Float[Array, " k"]:
    """Return the d for which X -> D^-1 X D^-1, Y -> D Y D brings the operator to order one."""
    own = jnp.einsum("iiii->i", operator)
    most = jnp.max(own)
    # A direction that the operator does not reach has no scale of its own.
    own = jnp.where(own > 0, jnp.maximum(own, 1e-6 * most), most)
    return jnp.where(most > 0, own, 1) ** -0.25


def _symmetric_basis(size: int) -> np.ndarray:
    """Return an orthonormal basis of the symmetric matrices: (size (size + 1) / 2, size, size)."""
    rows, columns = np.triu_indices(size)
    basis = np.zeros((len(rows), size, size))
    indices = np.arange(len(rows))
    weights = np.where(rows == columns, 1.0, 0.5**0.5)
    basis[indices, rows, columns] = weights
    basis[indices, columns, rows] = weights
    return basis
