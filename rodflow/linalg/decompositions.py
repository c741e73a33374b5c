"""Decompositions of small matrices that a sweep may run on every core at once.

A batched LAPACK call of jaxlib 0.10 occupies a thread of XLA's pool while it waits for others of
the same pool. Once all of them wait, as when every device of a CPU decomposes a batch, the
program never ends. A single matrix is decomposed on the calling thread, without that wait. On CPUs
the functions of this module therefore take the matrices of a batch one after the other, which costs
no time for small ones; elsewhere they are those of `jax.numpy.linalg`. Their derivatives, forward
and reverse, are the textbook's (Giles 2008, Collected matrix derivative results).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float, PyTree

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _singly_on_cpu(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a function take the members of a batch one after the other on CPUs."""
    one = custom_vmap(function)

    @one.def_vmap
    def batched(size: int, in_batched: list[bool], *args: Array) -> tuple[PyTree, PyTree]:
        full = [
            x if mapped else jnp.broadcast_to(x, (size, *x.shape))
            for x, mapped in zip(args, in_batched, strict=True)
        ]
        results = jax.lax.platform_dependent(
            *full,
            cpu=lambda *each: jax.lax.map(lambda xs: one(*xs), each),
            default=jax.vmap(function),
        )
        return results, jax.tree.map(lambda _: True, results)

    return one


@_singly_on_cpu
def _eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors


@_singly_on_cpu
def _eigvalsh(matrix: Float[Array, "n n"]) -> Float[Array, " n"]:
    return jnp.linalg.eigvalsh(matrix)


@_singly_on_cpu
def _solve(matrix: Float[Array, "n n"], right: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    return jnp.linalg.solve(matrix, right)


@jax.custom_jvp
def eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Decompose a symmetric matrix.

    Args:
        matrix: The matrix, of which only the symmetric part has a derivative.

    Returns:
        The eigenvalues in ascending order, and the eigenvectors as columns.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.linalg import eigh
        >>> values, vectors = eigh(jnp.array([[2.0, 0.0], [0.0, 1.0]]))
        >>> print(values, abs(vectors[:, 0]))
        [1. 2.] [0. 1.]
    """
    return _eigh(matrix)


@eigh.defjvp
def _eigh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[PyTree, PyTree]:
    values, vectors = eigh(*primals)
    turned = _turned(vectors, *tangents)
    same = jnp.eye(len(values), dtype=bool)
    rates = jnp.where(same, 0, 1 / jnp.where(same, 1, values - values[:, None]))
    return (values, vectors), (jnp.diagonal(turned), vectors @ (rates * turned))


@jax.custom_jvp
def eigvalsh(matrix: Float[Array, "n n"]) -> Float[Array, " n"]:
    """Compute the eigenvalues of a symmetric matrix, in ascending order.

    Args:
        matrix: The matrix, of which only the symmetric part has a derivative.

    Returns:
        The eigenvalues.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.linalg import eigvalsh
        >>> eigvalsh(jnp.array([[0.0, 1.0], [1.0, 0.0]])).round(4)
        Array([-1.,  1.], dtype=float32)
    """
    return _eigvalsh(matrix)


@eigvalsh.defjvp
def _eigvalsh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    values, vectors = eigh(*primals)
    return values, jnp.diagonal(_turned(vectors, *tangents))


@jax.custom_jvp
def solve(matrix: Float[Array, "n n"], right: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """Solve `matrix @ x = right` for x.

    Args:
        matrix: A square matrix.
        right: A vector, or several as columns.

    Returns:
        The solution, of the shape of `right`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.linalg import solve
        >>> solve(jnp.array([[2.0, 0.0], [0.0, 4.0]]), jnp.array([1.0, 1.0]))
        Array([0.5 , 0.25], dtype=float32)
    """
    return _solve(matrix, right)


@solve.defjvp
def _solve_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (matrix, right), (change, pushed) = primals, tangents
    solution = solve(matrix, right)
    inverse = solve(matrix, jnp.eye(len(matrix), dtype=matrix.dtype))
    return solution, jnp.tensordot(inverse, pushed - jnp.tensordot(change, solution, 1), 1)


def _turned(vectors: Array, change: Array) -> Array:
    """Express the symmetric part of a change of a matrix in the basis of its eigenvectors."""
    return vectors.T @ ((change + change.T) / 2) @ vectors
