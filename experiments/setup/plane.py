"""The plane of the two leading modes at the end of a run, on which paths of parameters are drawn.

With r the response of the optimizer to an alternating gradient, a mode is an eigenvector v of
r^1/2 H r^1/2. It moves the parameters along u = r^1/2 v, and its coefficient in a displacement d is
v' r^-1/2 d, in which no other mode appears. A coordinate of the plane is that coefficient times
|u|: the distance by which the mode moves the parameters. For gradient descent, where r is a number,
the plane is the orthogonal projection on the two leading eigenvectors of the Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree
from scipy.sparse.linalg import LinearOperator, eigsh

import rodflow
from experiments.problems import Problem
from experiments.setup.observers import elementwise
from rodflow.curvature import oscillation

AXES = 2
OF_THE_CHAIN = "leading modes of the Hessian in the metric of the optimizer, at the end"
OF_THE_HESSIAN = (
    "leading eigenvectors of the Hessian, at the end; the optimizer has no elementwise response "
    "to an alternating gradient, which would give its metric"
)
_DENSE = 64  # parameters up to which all eigenvectors are computed
_TOLERANCE = 1e-4  # relative, of an eigenvalue


class Plane(NamedTuple):
    """Two linear functions of the parameters.

    Attributes:
        origin: The parameters at the origin.
        covectors: The gradients of the two coordinates, rows of numbers.
    """

    origin: PyTree
    covectors: Float[Array | np.ndarray, "axes n"]


class LeadingModes(NamedTuple):
    """The two leading modes at a point.

    Attributes:
        plane: The plane of their coordinates, whose origin is the point.
        sharpness: Their eigenvalues: effective sharpnesses, or those of the plain Hessian.
        meaning: The sentence that says what the axes are.
    """

    plane: Plane
    sharpness: Float[np.ndarray, " axes"]
    meaning: str


def no_plane(params: PyTree) -> Plane:
    """Return a plane of the same shapes whose coordinates are all zero."""
    flat = ravel_pytree(params)[0]
    wide = jnp.promote_types(flat.dtype, jnp.float32)
    return Plane(params, np.zeros((AXES, flat.size), wide))


def coordinates(plane: Plane, params: PyTree) -> Float[Array, " axes"]:
    """Return the coordinates of a point."""
    return direction(plane, jax.tree.map(jnp.subtract, params, plane.origin))


def direction(plane: Plane, move: PyTree) -> Float[Array, " axes"]:
    """Return the coordinates of a displacement of the parameters."""
    flat = ravel_pytree(move)[0]
    return jnp.matmul(plane.covectors, flat.astype(plane.covectors.dtype))


def leading_modes(
    problem: Problem, tx: optax.GradientTransformation, state: rodflow.PhaseState
) -> LeadingModes | None:
    """Return the two leading modes at `state`, or None if there are none.

    There are none where a run has left the finite numbers, or for a single parameter.
    """
    origin, unravel = ravel_pytree(state.params)
    if origin.size < AXES or not np.isfinite(np.asarray(origin)).all():
        return None
    response = _response(problem, tx, state)
    root = np.ones(origin.size) if response is None else np.sqrt(response)

    @jax.jit
    def product(v: Array) -> Array:
        return ravel_pytree(jax.jvp(jax.grad(problem.loss), (state.params,), (unravel(v),))[1])[0]

    def in_metric(v: np.ndarray) -> np.ndarray:
        scaled = (root * v.reshape(-1)).astype(origin.dtype)
        return root * np.asarray(product(scaled), float)

    found = _eigenvectors(in_metric, origin.size)
    if found is None:
        return None
    values, vectors = found
    lengths = np.linalg.norm(root * vectors, axis=1, keepdims=True)
    covectors = lengths * np.divide(vectors, root, out=np.zeros_like(vectors), where=root > 0)
    like = no_plane(state.params).covectors
    plane = Plane(state.params, covectors.astype(like.dtype))
    if response is None:
        return LeadingModes(plane, values, OF_THE_HESSIAN)
    return LeadingModes(plane, values / 2, OF_THE_CHAIN)


def _response(
    problem: Problem, tx: optax.GradientTransformation, state: rodflow.PhaseState
) -> np.ndarray | None:
    """Return the response of each parameter; None if it has none of its own."""
    if not elementwise(state):
        return None
    iteration = rodflow.Iteration(problem.loss, tx)
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    flips = np.stack([np.ones(size), np.random.default_rng(0).choice([-1.0, 1.0], size)])
    unravel = ravel_pytree(state.params)[1]

    @jax.jit
    @jax.vmap
    def respond(signs: Array) -> Array:
        moved = oscillation(iteration, state, unravel(signs)).params
        return 2 * signs * ravel_pytree(moved)[0]

    same, flipped = np.asarray(respond(flips.astype(jax.tree.leaves(state.params)[0].dtype)), float)
    known = np.isfinite(same).all() and (same >= 0).all() and same.any()
    return same if known and np.allclose(same, flipped, rtol=1e-2, atol=0) else None


def _eigenvectors(
    product: Callable[[np.ndarray], np.ndarray], size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the two largest eigenvalues, descending, and their vectors as rows."""
    start = np.random.default_rng(0).standard_normal(size)
    if not np.isfinite(product(start)).all():
        return None
    if size <= _DENSE:
        matrix = np.array([product(row) for row in np.eye(size)])
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    else:
        operator = LinearOperator((size, size), matvec=product, dtype=float)  # type: ignore[call-arg]
        values, vectors = eigsh(operator, AXES, which="LA", v0=start, tol=_TOLERANCE)  # type: ignore[arg-type]
    order = np.argsort(values)[::-1][:AXES]
    rows = vectors[:, order].T
    # The sign of an eigenvector is arbitrary: its largest component is positive here.
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    return values[order], rows * np.sign(largest)
