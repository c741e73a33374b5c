"""Lanczos iteration for the largest eigenvalues, also where there is little to iterate on.

The eigenvalues of a product R A of symmetric matrices, R positive, are those of A in the inner
product <g, h> = g' R h. Lanczos iteration needs A and R as functions of a vector only,

    basis g_1, g_2, .. orthonormal,     g_i+1 ~ A R g_i outside of the span of g_1 .. g_i

and finds extreme eigenvalues of the matrix T_ij = (R g_i)' A (R g_j) long before its basis spans
everything. An A of low rank exhausts the space of its powers earlier still: what then remains of
A R g_i is rounding, and an iteration that went on with it would find eigenvalues in the noise. So
the basis is orthogonalised twice (Parlett 1998, The Symmetric Eigenvalue Problem, section 6.9), and
continued with a random vector where only rounding is left. T is then that of all of its vectors:
multiple eigenvalues and those of the null space are found as well.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rodflow.linalg import decompositions as linalg

Vector = Float[Array, " n"]

# What is left of a vector is rounding when it is below so many rounding units of what it was.
_ROUNDING = 16


def largest_eigenvalues(
    product: Callable[[Vector], Vector],
    start: Vector,
    k: int,
    depth: int,
    respond: Callable[[Vector], Vector] | None = None,
) -> Float[Array, " k"]:
    """The k largest eigenvalues of R A, descending, from a basis of `depth` vectors.

    `product` is v -> A v, and `respond` g -> R g, the identity for None; `start` is drawn at
    random. `product` is called `depth` times, and `respond` once more. NaN where R is zero.
    """
    eps = jnp.finfo(start.dtype).eps
    keys = jax.random.split(jax.random.key(1), depth)
    typical = 1.0 if respond is None else jnp.vdot(start, respond(start)) / jnp.vdot(start, start)

    def outside(v: Vector, grads: Array, moves: Array) -> Vector:
        for _ in range(2):
            v = v - grads.T @ (moves @ v)
        return v

    def turn(
        carry: tuple[tuple[Array, ...], Vector], at: tuple[Array, Array]
    ) -> tuple[tuple[tuple[Array, ...], Vector], Array]:
        bases, new = carry
        i, key = at
        images = (new,) if respond is None else (new, respond(new))
        square = jnp.vdot(images[0], images[-1])
        # What R takes to rounding has no place in the basis: a row of zeros, an eigenvalue 0.
        kept = square > eps * typical * jnp.vdot(new, new)
        scale = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, square, 1)), 0)
        bases = tuple(b.at[i].set(scale * image) for b, image in zip(bases, images, strict=True))
        grads, moves = bases[0], bases[-1]
        bent = product(moves[i])
        # Of order one: squares of small numbers are none.
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
        return (bases, new), size * entries

    empty = jnp.zeros((depth, start.size), start.dtype)
    bases = (empty,) if respond is None else (empty, empty)
    _, rows = jax.lax.scan(turn, (bases, start), (jnp.arange(depth), keys))
    tridiagonal = jnp.tril(rows) + jnp.tril(rows, -1).T
    values = linalg.eigvalsh(tridiagonal)[::-1][:k]
    return jnp.where(typical > 0, values, jnp.nan)
