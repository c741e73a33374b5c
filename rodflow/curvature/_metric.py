"""The metric of a chain in which the top eigenvalue of the Hessian is 2 at the edge.

With D_i(z) = Q_i / (z - 1 - R_i) the response of the parameter i to its gradient, w = -D g, a mode
of the Hessian H with the multiplier z is w = -D(z) H w. Two cases have an edge that is an
eigenvalue of a symmetric matrix:

1. *All elements share one filter*, but for a scale: D_i = s_i d. Then -1/d(z) is an eigenvalue of
   diag(s)^1/2 H diag(s)^1/2, a real number k, and the edge is at the smallest one that -1/d takes
   on the circle. With r = 2 s / k the top eigenvalue of diag(r)^1/2 H diag(r)^1/2 is 2 there.

2. *The imaginary parts of all D_i have one strict sign on the open upper half of the circle.* Then
   no mode of any symmetric H leaves there: v = H w has v* w = w* H w real, but v* w =
   -sum_i D_i |v_i|^2 has an imaginary part that is not zero unless v = 0, and so w = 0. What leaves
   does so through -1, where w = -D(-1) H w: with r = -2 D(-1) = 2 Q(-1) / (2 + R(-1)) the top
   eigenvalue of diag(r)^1/2 H diag(r)^1/2 is 2. The filters may differ from element to element.

Otherwise the edge depends on more than one matrix, and there is no number. A parameter that is not
updated has r = 0 in either case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PyTree

from rodflow.curvature._crossing import (
    Memory,
    curvature_at,
    first_crossing,
    grid_of,
    leaves_at,
    memory_at,
    transfer_of,
)
from rodflow.curvature._filters import Filters, filters_of
from rodflow.curvature.settling import Settling
from rodflow.maps.iteration import AbstractIteration, Iteration, PhaseState

_Parameters = Float[Array, " parameters"]

# The part of a filter that may differ between leaves that are said to share one.
_SAME = 1e-3


class Metric(NamedTuple):
    """The edge of a chain for a part of the leaves of the parameters.

    Attributes:
        critical: The curvature at the edge in units of the size of each response, where all share
            one filter.
        period: The number of steps in which a mode turns once as it leaves.
        first: The place of a leaf that responds.
        known: True if there is an edge.
    """

    critical: Float[Array, ""]
    period: Float[Array, ""]
    first: Float[Array, ""]
    known: Bool[Array, ""]


def metric_of(filters: Filters, memory: Memory, part: Bool[Array, " leaves"]) -> Metric:
    """Return the edge of the leaves of `part`, with the memory at the frequencies of `grid_of`."""
    dtype = filters.matrix.dtype
    here = filters.present & part
    first = jnp.argmax(here)
    shared = jax.tree.map(lambda x: x[first, 1], filters.kinds)
    # Every kind at every frequency, and at -1.
    grid = grid_of(dtype)
    each = jax.vmap(jax.vmap(lambda kind: curvature_at(grid, *transfer_of(kind, memory))))
    turns = each(filters.kinds)
    crossing = first_crossing(
        turns[first, 1], lambda w: curvature_at(w, *transfer_of(shared, memory_at(filters, w)))
    )
    at_end = crossing.frequency == jnp.asarray(np.pi, dtype)
    below = jnp.all(turns.imag[..., :-1] < 0, axis=-1)
    ends = turns.real[..., -1]

    def of_part(true: Array) -> Array:
        return jnp.all(true | ~here[:, None])

    alternates = of_part(below & (ends > 0))
    alike = of_part(_alike(filters, first))
    edges = jnp.where(alike & ~at_end, crossing.curvature, ends)
    leave = jax.vmap(jax.vmap(lambda kind, k: leaves_at(filters, kind, k)))(filters.kinds, edges)
    known = jnp.any(here) & filters.whole & jnp.all(filters.own | ~part)
    known &= (alternates | alike) & of_part(leave) & jnp.isfinite(crossing.curvature)
    period = jnp.where(alike & ~at_end, 2 * np.pi / crossing.frequency, 2).astype(dtype)
    return Metric(crossing.curvature, period, first, known)


def _alike(filters: Filters, first: Array) -> Bool[Array, "leaves 2"]:
    """Return True for the kinds that have the filter of the leaf `first`."""
    kinds = filters.kinds
    one = jax.tree.map(lambda x: x[first, 1], kinds)
    off = jnp.abs(kinds.outputs - one.outputs).sum(-1) + jnp.abs(kinds.by_grad - one.by_grad)
    grads = off <= _SAME * (jnp.abs(one.outputs).sum() + jnp.abs(one.by_grad))
    decays = jnp.abs(kinds.by_param - one.by_param) <= _SAME * jnp.abs(one.by_param)
    # What parameters do by way of the memory is in units of the size.
    sizes = jnp.abs(kinds.size - one.size) <= _SAME * one.size
    return grads & decays & (sizes | ~jnp.any(filters.by_params != 0))


def alternation(filters: Filters, memory: Memory) -> tuple[_Parameters, _Parameters]:
    """Return Q(-1) and R(-1) of each parameter, with the memory at -1 in the end."""
    outputs, by_grad, by_param = filters.outputs[:-2], filters.outputs[-2], filters.outputs[-1]
    return -(memory.by_grads[-1].real @ outputs + by_grad), (
        memory.by_params[-1].real @ outputs + by_param
    )


def map_at(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    state: PhaseState | tuple[PyTree, PyTree],
) -> tuple[Iteration, PhaseState]:
    """Return the map of an optimizer and a point of its phase space, both checked."""
    iteration = Iteration(loss, tx)
    state = iteration.check(state)
    iteration.init(state.params)
    return iteration, state


def filters_at(iteration: AbstractIteration, state: PhaseState) -> tuple[Filters, Memory]:
    """Return the filters of a chain that give its step with the present gradient.

    The memory is at the frequencies of `grid_of`.
    """
    settling = Settling.begin(iteration, state)
    there, grads = settling.present()
    filters = filters_of(settling.holding(there, grads).remembering(), there, grads)
    return filters, memory_at(filters, grid_of(filters.matrix.dtype))


def response_of(
    filters: Filters, memory: Memory, metric: Metric, part: Bool[Array, " leaves"]
) -> _Parameters:
    """Return r of the leaves of `part`; 0 for all others, and where there is no edge."""
    q, r = alternation(filters, memory)
    critical = jnp.where(metric.known, metric.critical, 1)
    found = jnp.where(metric.period == 2, 2 * q / (2 + r), 2 * filters.size / critical)
    here = metric.known & part[filters.leaf] & (filters.size > 0)
    return jnp.where(here, found, 0)
