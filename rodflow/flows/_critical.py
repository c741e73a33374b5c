"""The leading modes of the Hessian in the metric of an optimizer, and the effect of oscillation.

With r the response of the update to an alternating gradient (`rodflow.curvature`), the modes are
the leading eigenvectors v of

    M = r^1/2 H r^1/2,         M v = lambda v,         lambda = 2 at the edge of stability

and an oscillation of covariance X in them moves the parameters by u = r^1/2 v and the momenta by
their response to that. To second order in the oscillation, with xi_i the displacement of all of
phase space that belongs to u_i, the increment of the optimizer is on average

    G(z) + 1/2 sum_ij X_ij D^2 G(z)[xi_i, xi_j]

which for gradient descent is -lr (grad L + 1/2 grad <Sigma, H>), Sigma = sum_ij X_ij u_i u_j'
(Damian et al. 2023, arXiv 2209.15594; Cohen et al. 2025, arXiv 2410.24206). The third derivatives
of the loss enter as T_ij = D^3 L[u_i, u_j]; the second derivative of the optimizer's own arithmetic
(squares for second moments) comes with no further gradient.

The modes are carried from step to step as a basis that moves by one step of power iteration at a
time, turned as little as possible, so that it is a smooth function of time.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from rodflow.curvature.response import linear_response, oscillation
from rodflow.linalg import decompositions as linalg
from rodflow.linalg import rows
from rodflow.linalg.trees import normal_like
from rodflow.maps.iteration import AbstractIteration, PhaseState

_FIRST_ITERATIONS = 30
_SHIFT = 0.25  # bears eigenvalues down to -3/2 of the largest


class Modes(NamedTuple):
    """The leading modes at a point z, in descending order; trees of rows have shape (k, ...).

    Attributes:
        grads: The gradient of the loss.
        increment: G(z).
        after: z + G(z), whose second moments the coming step uses.
        response: The Nyquist response r, of the structure of the parameters.
        scale: Its root.
        vectors: The eigenvectors v.
        displacements: The displacements u = r^1/2 v.
        products: H u.
        values: The eigenvalues, 2 at the edge.
        rotation: The matrix that takes the basis to the vectors.
    """

    grads: PyTree
    increment: PhaseState
    after: PhaseState
    response: PyTree
    scale: PyTree
    vectors: PyTree
    displacements: PyTree
    products: PyTree
    values: Float[Array, " k"]
    rotation: Float[Array, "k k"]


def first_modes(iteration: AbstractIteration, z: PhaseState, most: int) -> Modes:
    """Return the converged leading modes at `z`: `most`, or as many as there are parameters."""
    size = sum(leaf.size for leaf in jax.tree.leaves(z.params))
    like = jax.tree.map(lambda w: jnp.stack([w] * min(most, size)), z.params)
    basis = rows.orthonormal(normal_like(jax.random.key(0), like))
    basis = jax.lax.fori_loop(
        0, _FIRST_ITERATIONS, lambda _, b: next_basis(leading(iteration, z, b)), basis
    )
    return leading(iteration, z, basis)


def leading(iteration: AbstractIteration, z: PhaseState, basis: PyTree) -> Modes:
    """Return the leading modes as far as `basis` (orthonormal but for rounding) spans them.

    Costs one gradient and a Hessian-vector product for each.
    """
    grads, hessian = jax.linearize(jax.grad(iteration.loss), z.params)
    increment = iteration.respond(z, grads)
    # The coming step uses the second moments that it leaves behind.
    after = jax.tree.map(jnp.add, z, increment)
    response = linear_response(iteration, after)
    scale = jax.tree.map(jnp.sqrt, response)
    vectors = rows.orthonormal(basis)
    displacements = jax.tree.map(lambda s, v: s * v, scale, vectors)
    products = jax.vmap(hessian)(displacements)
    values, rotation = linalg.eigh(rows.gram(displacements, products))
    values, rotation = values[::-1], rotation[:, ::-1].T
    return Modes(
        grads=grads,
        increment=increment,
        after=after,
        response=response,
        scale=scale,
        vectors=rows.combine(rotation, vectors),
        displacements=rows.combine(rotation, displacements),
        products=rows.combine(rotation, products),
        values=values,
        rotation=rotation,
    )


def next_basis(modes: Modes) -> PyTree:
    """Return the basis after a step of power iteration, each vector turned by at most a radian.

    The iteration is that of M plus a part of its largest eigenvalue, and of what is negative in the
    span, so that it finds the largest eigenvalues even where negative ones are larger in magnitude.
    """
    image = jax.tree.map(lambda r, p: jnp.sqrt(r) * p, modes.response, modes.products)
    shift = _SHIFT * jnp.max(jnp.abs(modes.values)) + jnp.maximum(-modes.values[-1], 0)
    shifted = modes.values + shift
    # Where all of them vanish, M may not: at least what is rounding beside its largest row.
    kind = jnp.finfo(shifted.dtype)
    longest = jnp.sqrt(jnp.max(jnp.diagonal(rows.gram(image, image))))
    shifted = jnp.maximum(shifted, kind.eps * longest + kind.tiny)
    # M v is lambda v within the span, so that what is left lies outside.
    outside = jax.tree.map(jnp.subtract, image, rows.combine(jnp.diag(modes.values), modes.vectors))
    normal = rows.combine(jnp.diag(1 / shifted), outside)
    identity = jnp.eye(len(shifted), dtype=shifted.dtype)
    limit = rows.inverse_root(identity + rows.gram(normal, normal), least=1.0)
    moved = jax.tree.map(jnp.add, modes.vectors, rows.combine(limit, normal))
    return rows.orthonormal(rows.combine(modes.rotation.T, moved))


def phase_displacements(iteration: AbstractIteration, modes: Modes, moves: PyTree) -> PhaseState:
    """Return the rows of phase space of oscillations of the parameters by the rows `moves`."""

    def one(move: PyTree) -> PhaseState:
        grads = jax.tree.map(lambda u, r: ratio(2 * u, r), move, modes.response)
        return oscillation(iteration, modes.after, grads)._replace(params=move)

    return jax.vmap(one)(moves)


def third_derivative(iteration: AbstractIteration, z: PhaseState, a: PyTree, b: PyTree) -> PyTree:
    """Return D^3 L[a, b], of the structure of the parameters."""

    def product(w: PyTree) -> PyTree:
        return jax.jvp(jax.grad(iteration.loss), (w,), (b,))[1]

    return jax.jvp(product, (z.params,), (a,))[1]


def second_derivative(
    iteration: AbstractIteration,
    z: PhaseState,
    grads: PyTree,
    a: tuple[PhaseState, PyTree],
    b: tuple[PhaseState, PyTree],
    third: PyTree,
) -> PhaseState:
    """Return D^2 G(z)[a, b] for two displacements of phase space.

    Each comes with its change of the gradient, and `third` is the third derivative of the loss
    along the two. No gradient is evaluated.
    """

    def moved(s: Array, t: Array) -> PhaseState:
        at = jax.tree.map(
            lambda z, x, y: z if x is None else z + s * x + t * y,
            z,
            a[0],
            b[0],
            is_leaf=lambda leaf: leaf is None,
        )
        gradient = jax.tree.map(
            lambda g, x, y, xy: g + s * x + t * y + s * t * xy, grads, a[1], b[1], third
        )
        return iteration.respond(at, gradient)

    def slope(s: Array) -> PhaseState:
        return jax.jvp(lambda t: moved(s, t), (zero,), (one,))[1]

    dtype = jnp.result_type(*jax.tree.leaves(grads))
    zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
    return jax.jvp(slope, (zero,), (one,))[1]


def scale(iteration: AbstractIteration, z: PhaseState) -> PyTree:
    """Return the root of the response after the coming step, of the structure of the parameters."""
    after = jax.tree.map(jnp.add, z, iteration.increment(z))
    return jax.tree.map(jnp.sqrt, linear_response(iteration, after))


def mean_loss(iteration: AbstractIteration, z: PhaseState, amplitudes: PyTree) -> Float[Array, ""]:
    """Return the mean of the loss over an oscillation, to second order: L + <H, Sigma> / 2."""

    def bend(u: PyTree) -> Float[Array, ""]:
        product = jax.jvp(jax.grad(iteration.loss), (z.params,), (u,))[1]
        return jnp.asarray(optax.tree.vdot(u, product))

    return iteration.loss(z.params) + jnp.sum(jax.vmap(bend)(amplitudes)) / 2


def length(amplitudes: PyTree) -> Float[Array, ""]:
    """Return the root of the trace of the covariance of the amplitudes."""
    return jnp.sqrt(jnp.trace(rows.gram(amplitudes, amplitudes)))


def ratio(a: Array, b: Array) -> Array:
    """Return a / b, and 0 where b is 0: a parameter without response does not oscillate."""
    return jnp.where(b != 0, a / jnp.where(b != 0, b, 1), 0)


def pairs(k: int) -> Int[np.ndarray, "pairs 2"]:
    """Return the pairs (i, j), i <= j < k; the first a (a + 1) / 2 are of the first a modes."""
    return np.array([(i, j) for j in range(k) for i in range(j + 1)])


def pair_of(k: int) -> Int[np.ndarray, "k k"]:
    """Return the place of (i, j) and of (j, i) in `pairs(k)`."""
    place = np.zeros((k, k), int)
    for p, (i, j) in enumerate(pairs(k)):
        place[i, j] = place[j, i] = p
    return place
