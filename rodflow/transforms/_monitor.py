"""The state of a monitored optimizer, and the two functions that read meters into it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from rodflow.curvature.edge import By, Edge, edge, parts_of
from rodflow.curvature.fluctuation import FluctuationMeter, FluctuationState
from rodflow.curvature.realized import directional_sharpness, inner, realized_edge
from rodflow.curvature.response import linear_response
from rodflow.maps.iteration import Iteration

# A preconditioner changes slowly; at first its scale is found at each power of two.
_RESCALED = 100


class MonitoredState(NamedTuple):
    """State of a monitored optimizer: readings, without unit, 1 at the edge, NaN until the first.

    Attributes:
        inner_state: The state of the optimizer within.
        monitored_steps: The number of updates so far.
        realized_edge: zeta of the last step (with `same_batch`, of the step before).
        directional_sharpness: That of the last step at which it was due.
        effective_sharpness: The largest one, of the loss that was given as `value_fn`, when it was
            last due.
        fluctuation: The effective sharpness read off the fluctuations of the parameters.
        mean_realized_edge: Exponential mean of the readings of the realized edge that are numbers.
        mean_directional_sharpness: Exponential mean of those of the directional sharpness.
        mean_effective_sharpness: Exponential mean of those of the effective sharpness.
        mean_fluctuation: Exponential mean of those of the fluctuation meter.
        previous_value: The loss before the last step.
        previous_slope: g'dw of the last step.
        edge_vectors: Directions from which the effective sharpness is looked for next; None without
            readings of it.
        scale: Square root of the response of each parameter; None without a fluctuation meter.
        fluctuation_state: The state of that meter; None without one.
        effective_sharpness_by: The effective sharpness of each part with all others held, by name;
            None without `by`, or without readings of it.
        fluctuation_by: The fluctuation meter's reading, divided among the parts; None without `by`
            or without that meter.
        part_vectors: Directions from which those of the parts are looked for next; None without
            such readings.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> state = rodflow.monitored(optax.sgd(0.1)).init(jnp.zeros(3))
        >>> optax.tree.get(state, "fluctuation"), state.inner_state
        (Array(nan, dtype=float32), (EmptyState(), EmptyState()))
    """

    inner_state: optax.OptState
    monitored_steps: Array
    realized_edge: Float[Array, ""]
    directional_sharpness: Float[Array, ""]
    effective_sharpness: Float[Array, ""]
    fluctuation: Float[Array, ""]
    mean_realized_edge: Float[Array, ""]
    mean_directional_sharpness: Float[Array, ""]
    mean_effective_sharpness: Float[Array, ""]
    mean_fluctuation: Float[Array, ""]
    previous_value: Float[Array, ""]
    previous_slope: Float[Array, ""]
    edge_vectors: PyTree | None
    scale: PyTree | None
    fluctuation_state: FluctuationState | None
    effective_sharpness_by: dict[str, Float[Array, ""]] | None
    fluctuation_by: dict[str, Float[Array, ""]] | None
    part_vectors: PyTree | None

    @property
    def observed_state(self) -> optax.OptState:
        """The state of the optimizer without readings, by which its map on phase space knows it."""
        return self.inner_state


@dataclasses.dataclass(frozen=True, eq=False)
class Monitor:
    """The two functions of a monitored optimizer; `observed` is the optimizer without readings."""

    observed: optax.GradientTransformation
    every: int
    sharpness_every: int | None
    meter: FluctuationMeter | None
    same_batch: bool
    by: By | None
    decay: jax.typing.ArrayLike

    def init(self, params: Any) -> Any:
        nothing = jnp.full([], jnp.nan, jnp.float32)
        scale = states = vectors = shares = parts = None
        unread = None
        if self.by is not None:
            unread = dict.fromkeys(parts_of(params, self.by, 1).names, nothing)
        if self.sharpness_every is not None:
            modes = min(2, sum(leaf.size for leaf in jax.tree.leaves(params)))
            vectors = jax.tree.map(
                lambda p: jnp.zeros((modes, *p.shape), jnp.promote_types(p.dtype, jnp.float32)),
                params,
            )
            parts = unread
        if self.meter is not None:
            scale = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
            states = self.meter.init(params)
            shares = unread
        count = jnp.zeros([], jnp.int32)
        inner_state = self.observed.init(params)
        readings = dict.fromkeys(MonitoredState._fields[2:12], nothing)
        return MonitoredState(
            inner_state,
            count,
            **readings,
            edge_vectors=vectors,
            scale=scale,
            fluctuation_state=states,
            effective_sharpness_by=parts,
            fluctuation_by=shares,
            part_vectors=None if parts is None else vectors,
        )

    def update(
        self,
        updates: Any,
        state: Any,
        params: Any = None,
        **extra_args: Any,
    ) -> Any:
        if params is None:
            raise ValueError("`params` is None; meters need the parameters that are updated.")
        grads = updates if extra_args.get("grad") is None else extra_args["grad"]
        tx = optax.with_extra_args_support(self.observed)
        updates, inner_state = tx.update(updates, state.inner_state, params, **extra_args)
        # What meters compute stays apart from the update, whose rounding it could change otherwise.
        params, taken, grads = jax.lax.optimization_barrier((params, updates, grads))
        after = optax.apply_updates(params, taken)
        # The step that is taken is what rounding leaves of the updates.
        step = jax.tree.map(lambda a, p: a.astype(jnp.float32) - p, after, params)
        value, value_fn = extra_args.get("value"), extra_args.get("value_fn")
        count = optax.safe_increment(state.monitored_steps)
        state = state._replace(inner_state=inner_state, monitored_steps=count)
        state = self._with_realized_edge(state, value, value_fn, params, after, grads, step)
        if value_fn is not None:
            state = self._with_curvature(state, value_fn, params, grads, step)
        if self.meter is not None:
            state = self._with_fluctuation(state, self.meter, params, grads, step)
        return updates, state

    def _with_realized_edge(
        self,
        state: MonitoredState,
        value: Array | None,
        value_fn: Callable | None,
        params: PyTree,
        after: PyTree,
        grads: PyTree,
        step: PyTree,
    ) -> MonitoredState:
        if self.same_batch:
            if value is None:
                raise ValueError("`value` is None; with `same_batch` it must be the loss.")
            one = jnp.ones([], jnp.float32)  # the slope is an inner product already
            zeta = realized_edge(state.previous_value, value, state.previous_slope, one)
            state = self._read(state, "realized_edge", True, lambda: zeta)
            slope = inner(grads, step).astype(jnp.float32)
            value = jnp.asarray(value, jnp.float32)
            return state._replace(previous_value=value, previous_slope=slope)
        if value_fn is None:
            return state
        value = value_fn(params) if value is None else value
        zeta = realized_edge(value, value_fn(after), grads, step)
        return self._read(state, "realized_edge", True, lambda: zeta)

    def _with_curvature(
        self, state: MonitoredState, value_fn: Callable, params: PyTree, grads: PyTree, step: PyTree
    ) -> MonitoredState:
        def directional() -> Array:
            return directional_sharpness(value_fn, params, grads, step)

        due = _due(state, self.every)
        read = self._read(state, "directional_sharpness", due, directional)
        if self.sharpness_every is None:
            return read
        due = _due(state, self.sharpness_every)
        found = jax.lax.cond(
            due,
            lambda: self._edges(state, value_fn, params),
            lambda: (
                state.effective_sharpness,
                state.edge_vectors,
                state.effective_sharpness_by,
                state.part_vectors,
            ),
        )
        read = self._read(read, "effective_sharpness", due, lambda: found[0])
        return read._replace(
            edge_vectors=found[1], effective_sharpness_by=found[2], part_vectors=found[3]
        )

    def _edges(
        self, state: MonitoredState, value_fn: Callable, params: PyTree
    ) -> tuple[Array, PyTree, dict[str, Array] | None, PyTree | None]:
        """Return the effective sharpness and its directions, then those of the parts.

        A later reading starts from the directions.
        """
        at = params, state.inner_state

        def found(whole: Edge | None, parts: dict[str, Edge] | None) -> tuple:
            top = edge(value_fn, self.observed, at, start=whole)
            first = top.sharpness[0].astype(jnp.float32), kept(top.vectors)
            if self.by is None:
                return *first, None, None
            each = edge(value_fn, self.observed, at, by=self.by, start=parts)
            numbers = {name: one.sharpness[0].astype(jnp.float32) for name, one in each.items()}
            return *first, numbers, kept(eqx.combine(*(one.vectors for one in each.values())))

        def kept(vectors: PyTree) -> PyTree:
            return jax.tree.map(lambda new, old: new.astype(old.dtype), vectors, state.edge_vectors)

        def start(vectors: PyTree) -> Edge:
            nothing = state.effective_sharpness
            return Edge(nothing[None], nothing[None], nothing, None, nothing, vectors)

        first = state.monitored_steps == self.sharpness_every
        return jax.lax.cond(
            first,
            lambda: found(None, None),
            lambda: found(start(state.edge_vectors), {"": start(state.part_vectors)}),
        )

    def _with_fluctuation(
        self,
        state: MonitoredState,
        meter: FluctuationMeter,
        params: PyTree,
        grads: PyTree,
        step: PyTree,
    ) -> MonitoredState:
        assert state.fluctuation_state is not None
        count = state.monitored_steps
        early = (count < _RESCALED) & (jnp.exp2(jnp.round(jnp.log2(count))) == count)
        scale = jax.lax.cond(
            early | _due(state, _RESCALED),
            lambda: self._scale(params, state.inner_state),
            lambda: state.scale,
        )
        fluctuation = meter.update(state.fluctuation_state, grads, step, scale)
        state = state._replace(scale=scale, fluctuation_state=fluctuation)
        due, by = _due(state, meter.renewal), self.by
        if by is not None:
            shares = jax.lax.cond(
                due, lambda: meter.parts(fluctuation, by), lambda: state.fluctuation_by
            )
            state = state._replace(fluctuation_by=shares)
        return self._read(state, "fluctuation", due, lambda: fluctuation.reading[0])

    def _scale(self, params: PyTree, inner_state: PyTree) -> PyTree:
        """Return the root of the chain's response; zeros if it has none, as a line search."""
        try:
            iteration = Iteration(_no_loss, self.observed)
            response = linear_response(iteration, iteration.check((params, inner_state)))
        except ValueError:
            response = jax.tree.map(jnp.zeros_like, params)
        response = jax.tree.map(lambda r: r.astype(jnp.float32), response)
        return jax.tree.map(lambda r: jnp.where(r > 0, jnp.sqrt(r), 0), response)

    def _read(
        self, state: MonitoredState, name: str, due: bool | Array, measure: Callable[[], Array]
    ) -> MonitoredState:
        """Return the state with a new reading, if it is due, and with its mean."""
        last, mean = getattr(state, name), getattr(state, f"mean_{name}")

        def read() -> tuple[Array, Array]:
            reading = measure().astype(jnp.float32)
            kept = jnp.asarray(self.decay, jnp.float32)
            moved = jnp.where(jnp.isnan(mean), reading, kept * mean + (1 - kept) * reading)
            return reading, jnp.where(jnp.isnan(reading), mean, moved)

        reading, mean = jax.lax.cond(due, read, lambda: (last, mean))
        return state._replace(**{name: reading, f"mean_{name}": mean})


def _no_loss(params: PyTree) -> Array:
    del params
    return jnp.zeros([])


def _due(state: MonitoredState, every: int) -> Array:
    return state.monitored_steps % every == 0
