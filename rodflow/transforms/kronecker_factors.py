r"""Kronecker factors of an inverse curvature, learned by matrix products alone.

The covariance of a p x q gradient G is modelled by S = (C C' (x) K K')^-1 / B, with B the size of
the batch that G is the mean over. From C = I and K = I, with c, a and lam the learning rate,
momentum and damping,

    A_C = 1/2 [(B/q) C' G K K' G' C + (lam tr(K'K)/q) C'C - I],       m_C <- a m_C + (1 - a) A_C
    C <- C - c C m_C / max(1, ||m_C||_F)

and the mirror image for K. C exp(-c m_C), of which this is the first order, is gradient descent of
a Gaussian approximation on the group of invertible matrices; m is its Riemannian momentum, in the
tangent space at the identity. With more axes there is one factor each, and tr(K'K)/q becomes the
product over the other axes. For independent G of mean zero the factors fluctuate about the truth.

A diagonal factor is kept as the vector of its diagonal; those matrices are a group too, and the
equations hold for the diagonal of A. Axes of length 1 have no factor, as in the authors' code; a
vector has one, and a scalar is a vector of one element.

Lin et al. 2024 (arXiv 2402.03496), figure 3; diagonal factors as in Lin et al. 2023 (2312.05705).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Factor = Float[Array, "_ _"] | Float[Array, " _"]  # square, or the diagonal of a square one


def _axes(leaf: jax.Array) -> tuple[int, ...]:
    """The lengths of the axes that have a factor."""
    return tuple(n for n in leaf.shape if n != 1) or (1,)


def identities(
    leaf: jax.Array, max_size: int, dtype: jax.typing.DTypeLike | None
) -> tuple[Factor, ...]:
    """The factors at first, in the dtype of the leaf for None; diagonal beyond `max_size`."""
    dtype = leaf.dtype if dtype is None else dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"The factors would be {dtype}; inverse-free Shampoo takes real floats.")
    return tuple(
        jnp.eye(n, dtype=dtype) if n <= max_size else jnp.ones(n, dtype) for n in _axes(leaf)
    )


def tangents(
    gradient: jax.Array,
    factors: tuple[Factor, ...],
    batch_size: jax.typing.ArrayLike,
    damping: jax.typing.ArrayLike,
) -> tuple[Factor, ...]:
    """A of each factor: by how much the second moment of the whitened gradient exceeds one."""
    dtype = factors[0].dtype
    whitened = gradient.reshape(_axes(gradient)).astype(dtype)
    whitened = whitened * jnp.sqrt(batch_size).astype(dtype)
    for axis, factor in enumerate(factors):
        # Divided by the root of every length: no large intermediates in narrow types.
        whitened = _transposed_product(factor / math.sqrt(len(factor)), whitened, axis)
    traces = [jnp.vdot(factor, factor) / len(factor) for factor in factors]
    found = []
    for axis, factor in enumerate(factors):
        rows = jnp.moveaxis(whitened, axis, 0).reshape(len(factor), -1)
        damped = jnp.asarray(damping, dtype) * math.prod(traces[:axis] + traces[axis + 1 :])
        if factor.ndim == 2:
            one = jnp.eye(len(factor), dtype=dtype)
            moment, square = rows @ rows.T, factor.T @ factor
        else:
            one = jnp.ones((), dtype)
            moment, square = jnp.einsum("ij,ij->i", rows, rows), factor * factor
        found.append((len(factor) * moment + damped * square - one) / 2)
    return tuple(found)


def move(factor: Factor, momentum: Factor, learning_rate: jax.typing.ArrayLike) -> Factor:
    """K exp(-c m / max(1, ||m||_F)), to first order."""
    norm = jnp.sqrt(jnp.vdot(momentum, momentum))
    step = jnp.asarray(learning_rate, factor.dtype) / jnp.maximum(norm, 1)
    change = factor @ momentum if factor.ndim == 2 else factor * momentum
    return factor - step * change


def precondition(gradient: jax.Array, factors: tuple[Factor, ...]) -> jax.Array:
    """K K' along every axis of the gradient, whose shape and dtype are kept."""
    direction = gradient.reshape(_axes(gradient)).astype(factors[0].dtype)
    for axis, factor in enumerate(factors):
        direction = _transposed_product(factor, direction, axis)
        direction = _transposed_product(factor.T, direction, axis)
    return direction.reshape(gradient.shape).astype(gradient.dtype)


def _transposed_product(factor: Factor, tensor: jax.Array, axis: int) -> jax.Array:
    """K' along an axis: the sum over i of K[i, j] tensor[.., i, ..]."""
    if factor.ndim == 1:
        return tensor * factor.reshape(-1, *[1] * (tensor.ndim - axis - 1))
    return jnp.moveaxis(jnp.tensordot(tensor, factor, axes=(axis, 0)), -1, axis)
