r"""Meters around any optimizer: readings of a training loop in the state of its transformation.

`monitored(tx)` hands to `tx` what it is given and returns the updates of `tx` as they are. Beside
the state of `tx` it keeps the last reading of each meter and an exponential mean, which
`optax.tree.get(opt_state, "realized_edge")` finds by name, and what the meters need to remember.
A meter that is not due costs nothing, since it is behind a `jax.lax.cond`. The meters themselves
are pure functions (`rodflow.curvature`); their meaning is in docs/theory/meters.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from rodflow._checks import check_count
from rodflow.curvature.edge import Edge, edge
from rodflow.curvature.fluctuation import FluctuationMeter, FluctuationState
from rodflow.curvature.realized import directional_sharpness, inner, realized_edge
from rodflow.curvature.response import linear_response
from rodflow.maps.iteration import Iteration

# A preconditioner changes slowly; at first its scale is found at each power of two.
_RESCALED = 100
_DECAY = 0.9


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
        mean_realized_edge: Exponential mean of the readings that are numbers, as the next three.
        mean_directional_sharpness: See above.
        mean_effective_sharpness: See above.
        mean_fluctuation: See above.
        previous_value: The loss before the last step.
        previous_slope: g'dw of the last step.
        edge_vectors: Directions from which the effective sharpness is looked for next; None without
            readings of it.
        scale: Square root of the response of each parameter; None without a fluctuation meter.
        fluctuation_state: The state of that meter; None without one.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> state = rodflow.monitored(optax.sgd(0.3)).init(jnp.ones(2))
        >>> print(state.monitored_steps, state.realized_edge)
        0 nan
    """

    inner_state: optax.OptState
    monitored_steps: jax.typing.ArrayLike
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

    @property
    def observed_state(self) -> optax.OptState:
        """The state of the optimizer without readings, by which its map on phase space knows it."""
        return self.inner_state


def monitored(
    inner: optax.GradientTransformation,
    every: int = 10,
    *,
    sharpness_every: int | None = None,
    vectors: int = 2,
    same_batch: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Keep readings of how far training is from the edge in the state of an optimizer.

    The updates are those of ``inner``, bit by bit. The update takes ``value``, ``grad`` and
    ``value_fn`` as extra arguments, as the line searches of Optax do, and passes them on: the loss
    of this batch, its gradient (the updates that come in, if it is not given) and the loss as a
    function of the parameters. What it is not given it does not measure:

    - ``realized_edge``, at every step, by one forward pass of ``value_fn``; with ``same_batch``
      from the next step's ``value`` instead, without any pass.
    - ``directional_sharpness``, every ``every`` steps, by one Hessian-vector product of
      ``value_fn``.
    - ``effective_sharpness`` of ``value_fn``, every ``sharpness_every`` steps.
    - ``fluctuation``, the effective sharpness read off the fluctuations of minibatch training, from
      gradients and updates alone.

    Each has an exponential mean, ``mean_realized_edge`` and so on. Readings are float32 scalars.
    A model of the optimizer, such as :class:`rodflow.Iteration`, is that of ``inner``.

    Args:
      inner: An optimizer, the whole chain.
      every: Steps between readings of the directional sharpness.
      sharpness_every: Steps between readings of the effective sharpness, by 30 Hessian-vector
        products the first time and 3 from then on; None for none.
      vectors: Directions of the fluctuation meter, which takes (2 k + 3) numbers of memory for each
        parameter; 0 for none. It reads NaN for a chain that has no linear response.
      same_batch: True if each step is on the same data, as in full-batch training.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object.

    Raises:
      ValueError: A number of steps is below 1, ``vectors`` is negative, or (at an update) the
        parameters are not given, or ``value`` is not with ``same_batch``.

    Examples:
      >>> import jax, jax.numpy as jnp, optax, rodflow
      >>> loss = lambda w: jnp.sum(jnp.array([3.0, 1.0]) * w**2)
      >>> tx = rodflow.monitored(optax.sgd(0.3), every=1)
      >>> params = jnp.ones(2)
      >>> state = tx.init(params)
      >>> for _ in range(5):
      ...   value, grads = jax.value_and_grad(loss)(params)
      ...   updates, state = tx.update(grads, state, params, value=value, value_fn=loss)
      ...   params = optax.apply_updates(params, updates)
      >>> print(f'{optax.tree.get(state, "realized_edge"):.3f}')
      0.899
    """
    check_count("every", every, 1)
    if sharpness_every is not None:
        check_count("sharpness_every", sharpness_every, 1)
    check_count("vectors", vectors, 0)
    meter = FluctuationMeter(vectors) if vectors else None
    monitor = _Monitor(inner, every, sharpness_every, meter, same_batch)
    return optax.GradientTransformationExtraArgs(monitor.init, monitor.update)


@dataclasses.dataclass(frozen=True, eq=False)
class _Monitor:
    """The two functions of a monitored optimizer; `observed` is the optimizer without readings."""

    observed: optax.GradientTransformation
    every: int
    sharpness_every: int | None
    meter: FluctuationMeter | None
    same_batch: bool

    def init(self, params: PyTree) -> MonitoredState:
        nothing = jnp.full([], jnp.nan, jnp.float32)
        scale = states = vectors = None
        if self.sharpness_every is not None:
            modes = min(2, sum(leaf.size for leaf in jax.tree.leaves(params)))
            vectors = jax.tree.map(lambda p: jnp.zeros((modes, *p.shape), p.dtype), params)
        if self.meter is not None:
            scale = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
            states = self.meter.init(params)
        count = jnp.zeros([], jnp.int32)
        inner_state = self.observed.init(params)
        return MonitoredState(inner_state, count, *[nothing] * 10, vectors, scale, states)

    def update(
        self,
        updates: PyTree,
        state: MonitoredState,
        params: PyTree | None = None,
        **extra_args: Any,
    ) -> tuple[PyTree, MonitoredState]:
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
            state = _read(state, "realized_edge", True, lambda: zeta)
            slope = inner(grads, step).astype(jnp.float32)
            value = jnp.asarray(value, jnp.float32)
            return state._replace(previous_value=value, previous_slope=slope)
        if value_fn is None:
            return state
        value = value_fn(params) if value is None else value
        zeta = realized_edge(value, value_fn(after), grads, step)
        return _read(state, "realized_edge", True, lambda: zeta)

    def _with_curvature(
        self, state: MonitoredState, value_fn: Callable, params: PyTree, grads: PyTree, step: PyTree
    ) -> MonitoredState:
        def directional() -> Array:
            return directional_sharpness(value_fn, params, grads, step)

        due = _due(state, self.every)
        read = _read(state, "directional_sharpness", due, directional)
        if self.sharpness_every is None:
            return read
        due = _due(state, self.sharpness_every)
        found, vectors = jax.lax.cond(
            due,
            lambda: self._edge(state, value_fn, params),
            lambda: (state.effective_sharpness, state.edge_vectors),
        )
        read = _read(read, "effective_sharpness", due, lambda: found)
        return read._replace(edge_vectors=vectors)

    def _edge(
        self, state: MonitoredState, value_fn: Callable, params: PyTree
    ) -> tuple[Array, PyTree]:
        """Return the effective sharpness, and its directions, which a later reading starts from."""

        def found(start: Edge | None) -> tuple[Array, PyTree]:
            there = edge(value_fn, self.observed, (params, state.inner_state), start=start)
            return there.sharpness[0].astype(jnp.float32), there.vectors

        nothing = state.effective_sharpness
        start = Edge(nothing[None], nothing[None], nothing, None, nothing, state.edge_vectors)
        first = state.monitored_steps == self.sharpness_every
        return jax.lax.cond(first, lambda: found(None), lambda: found(start))

    def _with_fluctuation(
        self,
        state: MonitoredState,
        meter: FluctuationMeter,
        params: PyTree,
        grads: PyTree,
        step: PyTree,
    ) -> MonitoredState:
        count = state.monitored_steps
        early = (count < _RESCALED) & (jnp.exp2(jnp.round(jnp.log2(count))) == count)
        scale = jax.lax.cond(
            early | _due(state, _RESCALED),
            lambda: self._scale(params, state.inner_state),
            lambda: state.scale,
        )
        fluctuation = meter.update(state.fluctuation_state, grads, step, scale)
        state = state._replace(scale=scale, fluctuation_state=fluctuation)
        due = _due(state, meter.renewal)
        return _read(state, "fluctuation", due, lambda: fluctuation.reading[0])

    def _scale(self, params: PyTree, inner_state: PyTree) -> PyTree:
        """Return the root of the chain's response; zeros if it has none, as a line search."""
        try:
            iteration = Iteration(_no_loss, self.observed)
            response = linear_response(iteration, iteration.check((params, inner_state)))
        except ValueError:
            response = jax.tree.map(jnp.zeros_like, params)
        response = jax.tree.map(lambda r: r.astype(jnp.float32), response)
        return jax.tree.map(lambda r: jnp.where(r > 0, jnp.sqrt(r), 0), response)


def _no_loss(params: PyTree) -> Array:
    del params
    return jnp.zeros([])


def _due(state: MonitoredState, every: int) -> Array:
    return state.monitored_steps % every == 0


def _read(
    state: MonitoredState, name: str, due: bool | Array, measure: Callable[[], Array]
) -> MonitoredState:
    """Return the state with a new reading, if it is due, and with its mean."""
    last, mean = getattr(state, name), getattr(state, f"mean_{name}")

    def read() -> tuple[Array, Array]:
        reading = measure().astype(jnp.float32)
        moved = jnp.where(jnp.isnan(mean), reading, _DECAY * mean + (1 - _DECAY) * reading)
        return reading, jnp.where(jnp.isnan(reading), mean, moved)

    reading, mean = jax.lax.cond(due, read, lambda: (last, mean))
    return state._replace(**{name: reading, f"mean_{name}": mean})
