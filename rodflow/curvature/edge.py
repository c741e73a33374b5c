"""The edge of stability of any linear chain: how far the loss is from it, and what would be at it.

The metric of the chain (`rodflow.curvature._metric`) and the Hessian have the effective sharpness,
1 at the edge. A mode leaves there with a period, 2 for an alternation.

The factor s on the update that would stand at the edge solves, with the same curvature k,

    1 - z + s R(z) = s k Q(z),        |z| = 1

For an alternation, where H u = (2/s + R)/Q u along the mode, it is s = W / (e - 1 + W), with e the
effective sharpness and W the mean of 2 / (2 + R_i) over the squared elements of the eigenvector;
without weight decay that is 1 / e.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from rodflow.curvature._crossing import (
    Memory,
    curvature_at,
    first_crossing,
    grid_of,
    memory_at,
    transfer_of,
)
from rodflow.curvature._filters import Filters
from rodflow.curvature._metric import (
    Metric,
    alternation,
    filters_at,
    map_at,
    metric_of,
    response_of,
)
from rodflow.curvature._parts import By, Parts, parts_of
from rodflow.linalg.lanczos import Eigenpairs, largest_eigenpairs
from rodflow.linalg.ritz import refine_eigenpairs
from rodflow.maps.iteration import Iteration, PhaseState
from rodflow.maps.programs import compiled

_KRYLOV_DEPTH = 30
_ALIKE = 5e-4  # of halves of decays a step


class Edge(NamedTuple):
    """The distance of a loss from the edge of stability of an optimizer.

    Numbers are NaN where the optimizer has no linear edge.

    Attributes:
        sharpness: The k largest effective sharpnesses, in descending order: 1 is the edge.
        error: Estimates of their errors, from the residuals of the eigenvectors.
        scale: The factor on the update with which the largest would be 1; NaN where the decays of
            parameters differ by more than a thousandth a step.
        learning_rate: The learning rate times this factor, where the state has it as the
            hyperparameter `learning_rate` (`optax.inject_hyperparams`); None elsewhere.
        period: The number of steps in which the mode turns once where it leaves: 2 for an
            alternation, which a rod describes. No model of period two sees any other.
        vectors: Displacements of the parameters along the k modes and the next one, of unit length,
            as the rows of a pytree. A later call starts from them.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> loss, params = lambda w: (6 * w[0] ** 2 + w[1] ** 2) / 2, jnp.ones(2)
        >>> tx = optax.inject_hyperparams(optax.sgd)(0.25)
        >>> edge = rodflow.edge(loss, tx, (params, tx.init(params)))
        >>> print(f"{edge.sharpness[0]:.2f} {edge.learning_rate:.4f} {edge.period:.0f}")
        0.75 0.3333 2
    """

    sharpness: Float[Array, " k"]
    error: Float[Array, " k"]
    scale: Float[Array, ""]
    learning_rate: Float[Array, ""] | None
    period: Float[Array, ""]
    vectors: PyTree[Float[Array, "k_and_1 ..."]]


@overload
def edge(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    state: PhaseState | tuple[PyTree, PyTree],
    k: int = 1,
    by: None = None,
    start: Edge | None = None,
) -> Edge: ...


@overload
def edge(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    state: PhaseState | tuple[PyTree, PyTree],
    k: int = 1,
    *,
    by: By,
    start: dict[str, Edge] | None = None,
) -> dict[str, Edge]: ...


def edge(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    state: PhaseState | tuple[PyTree, PyTree],
    k: int = 1,
    by: By | None = None,
    start: Edge | dict[str, Edge] | None = None,
) -> Edge | dict[str, Edge]:
    """Return the distance of `loss` from the edge of stability of `tx`, for any linear chain.

    The chain must act on each element by itself. Schedules, bias corrections and weight decay count
    as they stand in the last step, and norms that scale a step are held (see
    `effective_sharpness`). Filters may differ between parameters where none leaves the unit circle
    but at -1. Compiled; works under `jit` and `vmap`. Source: Lee & Lee 2026, arXiv 2608.18415, for
    one filter without weight decay. Theory: docs/theory/edge.md.

    Args:
        loss: A function of the parameters that returns a scalar, such as the loss of a batch.
        tx: The chain of Optax transformations.
        state: A `PhaseState` of `Iteration(loss, tx)`, or a tuple (params, opt_state) as Optax has
            them, after at least one step for an adaptive method.
        k: The number of modes.
        by: A function from the path of a leaf of the parameters to the name of its part, or "leaf"
            for a part of each leaf. The result is then a dictionary of the edges of these parts,
            with all other parameters held.
        start: The result of an earlier call with the same `k` and `by`. Its vectors are improved by
            2 k + 1 Hessian-vector products; without them there are at least 30.

    Returns:
        The edge, or that of each part.

    Raises:
        ValueError: k is below 1 or above the number of parameters, `by` is of another kind, or the
            state is of another transformation.

    Examples:
        Two averages in a row leave as a rotation, long before they would alternate:

        >>> import jax.numpy as jnp, optax, rodflow
        >>> averages = [optax.ema(decay, debias=False) for decay in (0.4, 0.7)]
        >>> loss, tx = lambda w: 2 * w**2, optax.chain(*averages, optax.scale(-0.5))
        >>> edge = rodflow.edge(loss, tx, (jnp.array(1.0), tx.init(jnp.array(1.0))))
        >>> print(f"{edge.sharpness[0]:.4f} {edge.scale:.4f} {edge.period:.1f}")
        0.7778 1.2857 7.6
    """
    return compiled(_edge, loss, tx, state, k, by, start)


def _edge(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    state: PhaseState | tuple[PyTree, PyTree],
    k: int,
    by: By | None,
    start: Edge | dict[str, Edge] | None,
) -> Edge | dict[str, Edge]:
    iteration, state = map_at(loss, tx, state)
    parts = parts_of(state.params, by, k)
    filters, memory = filters_at(iteration, state)
    begin = None if start is None else _joined(start)
    found, vectors = _edges(iteration, state, filters, memory, parts, k, begin)
    rows = jax.vmap(ravel_pytree(state.params)[1])(vectors)
    rate = _learning_rate(state.opt_state)

    def one(place: int) -> Edge:
        this = jax.tree.map(lambda x: x[place], found)
        leaves, structure = jax.tree.flatten(rows)
        own = [x if here else None for x, here in zip(leaves, parts.members[place], strict=True)]
        return this._replace(
            learning_rate=None if rate is None else rate * this.scale,
            vectors=structure.unflatten(own),
        )

    if by is None:
        return one(0)
    return {name: one(place) for place, name in enumerate(parts.names)}


def _joined(start: Edge | dict[str, Edge]) -> Float[Array, "m parameters"]:
    """Return the vectors of all parts as those of all parameters."""
    edges = list(start.values()) if isinstance(start, dict) else [start]
    whole = eqx.combine(*(each.vectors for each in edges))
    return jax.vmap(lambda vector: ravel_pytree(vector)[0])(whole)


def _edges(
    iteration: Iteration,
    state: PhaseState,
    filters: Filters,
    memory: Memory,
    parts: Parts,
    k: int,
    begin: Float[Array, "m parameters"] | None,
) -> tuple[Edge, Float[Array, "m parameters"]]:
    """Return the edges of all parts, one after the other, and all their vectors."""
    size, dtype = len(filters.size), filters.matrix.dtype
    most = min(k + 1, size)
    drawn = jax.random.normal(jax.random.key(0), (most, size), dtype)
    decay = alternation(filters, memory)[1]
    _, unravel = ravel_pytree(state.params)

    def next_part(vectors: Array, part: Array) -> tuple[Array, Edge]:
        metric = metric_of(filters, memory, part)
        root = jnp.sqrt(response_of(filters, memory, metric, part))

        def product(v: Array) -> Array:
            moved = unravel(root * v)
            # Parameters may be of less precision than the metric, as bf16 is.
            moved = jax.tree.map(lambda m, p: m.astype(p.dtype), moved, state.params)
            bent = jax.jvp(jax.grad(iteration.loss), (state.params,), (moved,))[1]
            return root * ravel_pytree(bent)[0]

        if begin is None:
            depth = min(max(_KRYLOV_DEPTH, 2 * most), size)
            pairs = largest_eigenpairs(product, drawn[0], most, depth)
        else:
            scaled = jnp.where(root > 0, begin / jnp.where(root > 0, root, 1), 0)
            fresh = jnp.all(scaled == 0, axis=1, keepdims=True)
            scaled = jnp.where(fresh, jnp.where(root > 0, drawn, 0), scaled)
            pairs = refine_eigenpairs(product, _unit(scaled), k)
        moves = _unit(root * pairs.vectors)
        if begin is not None:  # where there is no edge, keep what there was
            moves = jnp.where(metric.known, moves, begin)
        vectors = jnp.where(part[filters.leaf], moves, vectors)
        return vectors, _edge_of(filters, memory, metric, pairs, decay, k)

    none = jnp.zeros((most, size), dtype)
    vectors, edges = jax.lax.scan(next_part, none, jnp.asarray(parts.members))
    return edges, vectors


def _edge_of(
    filters: Filters, memory: Memory, metric: Metric, pairs: Eigenpairs, decay: Array, k: int
) -> Edge:
    """Return the edge, without vectors, from eigenpairs in the metric."""
    values = jnp.where(metric.known, pairs.values, jnp.nan) / 2
    return Edge(
        sharpness=values[:k],
        error=jnp.where(metric.known, pairs.errors()[:k], jnp.nan) / 2,
        scale=_scale(filters, memory, metric, values[0], pairs.vectors[0], decay),
        learning_rate=None,
        period=jnp.where(metric.known, metric.period, jnp.nan),
        vectors=None,
    )


def _scale(
    filters: Filters,
    memory: Memory,
    metric: Metric,
    sharpness: Float[Array, ""],
    vector: Float[Array, " parameters"],
    decay: Float[Array, " parameters"],
) -> Float[Array, ""]:
    """Return the factor on the update with which an effective sharpness would be 1."""
    weights = jnp.where(vector == 0, jnp.nan, 2 / (2 + decay))
    mean = jnp.nansum(vector**2 * weights)
    # With another factor, a mode of parameters with different decays is another one.
    alike = jnp.nanmax(weights) - jnp.nanmin(weights) <= _ALIKE
    lower = sharpness - 1 + mean
    alternating = jnp.where(lower > 0, mean / jnp.where(lower > 0, lower, 1), jnp.inf)
    alternating = jnp.where(alike, alternating, jnp.nan)
    kind = jax.tree.map(lambda x: x[metric.first, 1], filters.kinds)

    def relative(w: Array, memory: Memory) -> Array:
        q, r = transfer_of(kind, memory)
        return curvature_at(w, sharpness * metric.critical * q - r, jnp.zeros_like(r))

    def rotating() -> Array:
        turns = relative(grid_of(sharpness.dtype), memory)
        return first_crossing(turns, lambda w: relative(w, memory_at(filters, w))).curvature

    found = jax.lax.cond(metric.period == 2, lambda: alternating, rotating)
    return jnp.where(metric.known, found, jnp.nan)


def _unit(vectors: Float[Array, "m n"]) -> Float[Array, "m n"]:
    """Return rows of unit length, and zeros as they are."""
    length = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.where(length > 0, length, 1)


def _learning_rate(opt_state: PyTree) -> Array | None:
    """Return the learning rate that a state has as its hyperparameter, if it has one."""
    found = [
        value
        for _, value in optax.tree.get_all_with_path(opt_state, "learning_rate")
        if isinstance(value, jax.Array)
    ]
    return found[0] if len(found) == 1 else None
