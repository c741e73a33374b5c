"""The place where the modes of a linear filter leave stability.

A mode of curvature k, under a chain with the filters Q of gradients and R of parameters, has the
multipliers z that solve

    z - 1 - R(z) + k Q(z) = 0

It leaves the unit disc where one of them is on the circle, z = exp(i w). There

    k(w) = (1 - z + R(z)) / Q(z)

is real: w = pi is the alternation, a smaller w a complex pair that leaves as a rotation of period
2 pi / w. The edge is the smallest positive real value (Lee & Lee 2026, arXiv 2608.18415, for R = 0)
if the mode is stable just below it and is not just above.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from rodflow.curvature._filters import Filters, Kind

# Frequencies between which the imaginary part of k changes its sign at most once: slow averages
# turn it at small ones.
_POINTS = 256
_SLOWEST = 1e-6
_FREQUENCIES = np.union1d(
    np.geomspace(_SLOWEST, 1, _POINTS), np.linspace(0, np.pi, _POINTS + 1)[1:]
)
# Crossings that are refined, of those with the smallest curvature.
_REFINED = 4
_HALVINGS = 48
# Distance of the curvatures just below and above the edge, and doublings of the number of steps
# after which a mode has decayed or grown there.
_ASIDE = 0.02
_DOUBLINGS = {4: 20, 8: 30}  # by bytes, as each doubles the rounding too

_Frequencies = Float[Array, " frequencies"]


class Crossing(NamedTuple):
    """The first crossing of a filter.

    Attributes:
        curvature: The smallest positive curvature at which a multiplier is on the circle; infinity
            where there is none.
        frequency: Its angle, in radians a step: pi for an alternation.
    """

    curvature: Float[Array, ""]
    frequency: Float[Array, ""]


class Memory(NamedTuple):
    """The response of the small system of `Filters` at some frequencies."""

    by_grads: Complex[Array, "frequencies n"]
    by_params: Complex[Array, "frequencies n"]


def memory_at(filters: Filters, frequency: _Frequencies) -> Memory:
    """Return (z - a)^-1 b at the frequencies, by Gauss-Jordan elimination of all at once.

    The matrices are tiny, and the decompositions of LAPACK would take each by itself.
    """
    n, a = len(filters.matrix), filters.matrix
    z = jax.lax.complex(jnp.cos(frequency), jnp.sin(frequency)).astype(jnp.result_type(a, 1j))
    sides = jnp.stack([filters.by_grads, filters.by_params], axis=1)
    left = z[:, None, None] * jnp.eye(n, dtype=a.dtype) - a
    right = jnp.broadcast_to(sides, (len(z), *sides.shape))

    def eliminate(column: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        table, free = carry
        values = table[:, :, column]
        place = jnp.argmax(jnp.where(free, jnp.abs(values), -1), axis=1)
        pivot = place[:, None] == jnp.arange(n)
        row = jnp.take_along_axis(table, place[:, None, None], axis=1)
        row = row / row[:, :, column, None]
        table = jnp.where(pivot[..., None], row, table - values[..., None] * row)
        return table, free & ~pivot

    table = jnp.concatenate([left, right], axis=2)
    table, _ = jax.lax.fori_loop(0, n, eliminate, (table, jnp.ones(table.shape[:2], bool)))
    # What is left of the matrix is a permutation.
    order = (jnp.abs(table[..., :n]) > 0.5).astype(table.dtype)
    found = jnp.einsum("fij,fik->fjk", order, table[..., n:])
    return Memory(found[..., 0], found[..., 1])


def transfer_of(kind: Kind, memory: Memory) -> tuple[Array, Array]:
    """Return Q over the size, and R, of a kind of element at the frequencies of `memory`."""
    return (
        -(memory.by_grads @ kind.outputs + kind.by_grad),
        kind.size * (memory.by_params @ kind.outputs) + kind.by_param,
    )


def curvature_at(w: Array, q: Array, r: Array) -> Array:
    """Return the complex curvature k, where Q is not zero."""
    # 1 - exp(i w), without a difference of numbers close to 1.
    numerator = jax.lax.complex(2 * jnp.sin(w / 2) ** 2, -jnp.sin(w)) + r
    return numerator * jnp.conj(q) / jnp.maximum(jnp.abs(q) ** 2, jnp.finfo(w.dtype).tiny)


def grid_of(dtype: jnp.dtype) -> _Frequencies:
    """Return the frequencies at which a filter is looked at, pi in the end."""
    return jnp.asarray(_FREQUENCIES, dtype)


def first_crossing(
    k: Complex[Array, " frequencies"], at: Callable[[Array], Complex[Array, " some"]]
) -> Crossing:
    """Return the first crossing for positive curvatures.

    Args:
        k: The complex curvature at the frequencies of `grid_of`.
        at: The function that returns it at others.
    """
    grid = grid_of(k.real.dtype)
    high = (k.imag > 0)[:-1]  # at pi, k is real
    turned = high[1:] != high[:-1]
    (left, right), (low, up) = ((x[:-2], x[1:-1]) for x in (k.imag, k.real))
    guess = low + left / jnp.where(turned, left - right, 1) * (up - low)
    costs = jnp.where(turned & (guess > 0), guess, jnp.inf)
    _, places = jax.lax.top_k(-costs, _REFINED)
    left_is_high = high[places]

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, up = ends
        middle = (low + up) / 2
        same = (at(middle).imag > 0) == left_is_high
        return jnp.where(same, middle, low), jnp.where(same, up, middle)

    low, up = jax.lax.fori_loop(0, _HALVINGS, halve, (grid[places], grid[places + 1]))
    middle = (low + up) / 2
    roots = at(middle).real
    found = jnp.append(jnp.where(jnp.isinf(costs[places]), jnp.inf, roots), k.real[-1])
    found = jnp.where(found > 0, found, jnp.inf)
    first = jnp.argmin(found)
    return Crossing(found[first], jnp.append(middle, grid[-1])[first])


def leaves_at(filters: Filters, kind: Kind, curvature: Float[Array, ""]) -> Bool[Array, ""]:
    """Return True if a mode of a kind of element is stable below a curvature, and not above."""
    beside = jnp.array([1 - _ASIDE, 1 + _ASIDE], curvature.dtype) * curvature

    @jax.vmap
    def grows(k: Array) -> Array:
        params = jnp.append(kind.outputs, 1 + kind.by_param + k * kind.by_grad)
        change = kind.size * filters.by_params + k * filters.by_grads
        memory = jnp.append(filters.matrix, change[:, None], 1)
        return _grows(jnp.concatenate([memory, params[None]]))

    below, above = grows(beside)
    return ~below & above


def _grows(matrix: Float[Array, "n n"]) -> Bool[Array, ""]:
    """Return True if high powers of a matrix do."""

    def double(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        power, logarithm = carry
        power = power @ power
        size = jnp.linalg.norm(power)
        return power / jnp.where(size > 0, size, 1), 2 * logarithm + jnp.log(size)

    size = jnp.linalg.norm(matrix)
    start = (matrix / size, jnp.log(size))
    _, logarithm = jax.lax.fori_loop(0, _DOUBLINGS[matrix.dtype.itemsize], double, start)
    return ~(logarithm < 0)
