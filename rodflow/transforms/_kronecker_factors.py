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

In types narrower than float32 a step of c = 0.01 is lost when it is added to a factor near I. The
rounding error is therefore kept and added to the next step (Kahan 1965,
doi:10.1145/363707.363723).

A diagonal factor is kept as the vector of its diagonal. Diagonal matrices form a group too, and the
equations hold for the diagonal of A. Axes of length 1 have no factor, as in the authors' code; a
vector has one, and a scalar is a vector of one element.

Lin et al. 2024 (arXiv 2402.03496), figure 3; diagonal factors as in Lin et al. 2023 (2312.05705).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rodflow.maps.parity import RoundingError
from rodflow.transforms._summation import compensated

Matrix = Float[Array, "_ _"] | Float[Array, " _"]  # square, or the diagonal of a square one


class Factor(NamedTuple):
    """A factor with its momentum and rounding error, all of one shape and dtype."""

    matrix: Matrix
    momentum: Matrix
    remainder: RoundingError | None  # None in float32 and wider


def _axes(leaf: jax.Array) -> tuple[int, ...]:
    """Return the lengths of the axes that have a factor."""
    return tuple(n for n in leaf.shape if n != 1) or (1,)


def init_factors(
    leaf: jax.Array, max_size: int, dtype: jax.typing.DTypeLike | None
) -> tuple[Factor, ...]:
    """Make the initial factors of a leaf: identities, diagonal for axes longer than `max_size`."""
    dtype = jnp.dtype(leaf.dtype if dtype is None else dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"The factors would be {dtype}; inverse-free Shampoo takes real floats.")
    factors = []
    for n in _axes(leaf):
        matrix = jnp.eye(n, dtype=dtype) if n <= max_size else jnp.ones(n, dtype)
        zeros = jnp.zeros_like(matrix)
        factors.append(Factor(matrix, zeros, RoundingError(zeros) if dtype.itemsize < 4 else None))
    return tuple(factors)


def learn(
    gradient: jax.Array,
    factors: tuple[Factor, ...],
    batch_size: jax.typing.ArrayLike,
    learning_rate: jax.typing.ArrayLike,
    momentum: jax.typing.ArrayLike,
    damping: jax.typing.ArrayLike,
) -> tuple[Factor, ...]:
    """Update the factors by the gradient of a batch, in their dtype."""
    if gradient.size == 0:
        return factors
    tangents = _tangents(gradient, [factor.matrix for factor in factors], batch_size, damping)
    moved = []
    for (matrix, before, remainder), tangent in zip(factors, tangents, strict=True):
        # 1 - a is computed before a is rounded, as 0.999 is 1 in bfloat16.
        a, new, c = (jnp.asarray(x, matrix.dtype) for x in (momentum, 1 - momentum, learning_rate))
        m = a * before + new * tangent
        step = -c / jnp.maximum(jnp.sqrt(jnp.vdot(m, m)), 1) * _product(matrix, m)
        if remainder is None:
            moved.append(Factor(matrix + step, m, None))
            continue
        step, left = compensated(matrix, step, remainder.values)
        moved.append(Factor(matrix + step, m, RoundingError(left)))
    return tuple(moved)


def precondition(gradient: jax.Array, factors: tuple[Factor, ...]) -> jax.Array:
    """Apply K K' along every axis of the gradient, and keep its shape and dtype."""
    direction = gradient.reshape(_axes(gradient)).astype(factors[0].matrix.dtype)
    for axis, factor in enumerate(factors):
        direction = _along(axis, factor.matrix, direction)
        direction = _along(axis, factor.matrix.T, direction)
    return direction.reshape(gradient.shape).astype(gradient.dtype)


def _tangents(
    gradient: jax.Array,
    matrices: list[Matrix],
    batch_size: jax.typing.ArrayLike,
    damping: jax.typing.ArrayLike,
) -> list[Matrix]:
    """Compute A of each factor: the excess of the whitened gradient's second moment over one."""
    dtype = matrices[0].dtype
    whitened = gradient.reshape(_axes(gradient)).astype(dtype)
    whitened = whitened * jnp.sqrt(batch_size).astype(dtype)
    for axis, matrix in enumerate(matrices):
        # Divided by the root of every length, to avoid large intermediates in narrow types.
        whitened = _along(axis, matrix / math.sqrt(len(matrix)), whitened)
    traces = [jnp.vdot(matrix, matrix) / len(matrix) for matrix in matrices]
    tangents = []
    for axis, matrix in enumerate(matrices):
        rows = jnp.moveaxis(whitened, axis, 0).reshape(len(matrix), -1)
        damped = jnp.asarray(damping, dtype) * math.prod(traces[:axis] + traces[axis + 1 :])
        if matrix.ndim == 2:
            moment, one = rows @ rows.T, jnp.eye(len(matrix), dtype=dtype)
        else:
            moment, one = jnp.einsum("ij,ij->i", rows, rows), jnp.ones((), dtype)
        tangents.append((len(matrix) * moment + damped * _product(matrix.T, matrix) - one) / 2)
    return tangents


def _product(left: Matrix, right: Matrix) -> Matrix:
    return left @ right if left.ndim == 2 else left * right


def _along(axis: int, matrix: Matrix, tensor: jax.Array) -> jax.Array:
    """Apply K' along an axis: the sum over i of K[i, j] tensor[.., i, ..]."""
    if matrix.ndim == 1:
        return tensor * matrix.reshape(-1, *[1] * (tensor.ndim - axis - 1))
    return jnp.moveaxis(jnp.tensordot(tensor, matrix, axes=(axis, 0)), -1, axis)
