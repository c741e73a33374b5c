"""Tracking: iterates and flows in lockstep, in one program, and the distance between them.

A flow is compared with the midpoint and the averaged loss of the iterates:

    distance(t)   = || w_flow(t) - wmid[t] ||_2      loss_error(t) = |L_flow(t) - Lavg[t]| / Lavg[t]

Only what is needed for the next record is kept, so memory does not grow with the number of steps.
Training at the edge of stability is chaotic: *twins*, runs started one rounding unit away, tell how
well the optimizer agrees with itself. Their spread is the floor of every distance.

A run or a flow that diverges stops where it was; its step is marked and its numbers are NaN from
there on. Under `vmap` the other lanes do not notice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rodflow._checks import check_callable, check_count, shown
from rodflow.flows.flow import AbstractFlow
from rodflow.linalg.trees import alike, norm
from rodflow.maps.iteration import AbstractIteration, Iteration, PhaseState
from rodflow.maps.placement import Placement
from rodflow.maps.programs import compiled
from rodflow.solvers import Integrator
from rodflow.tracking._arguments import checked_flows, checked_integrators, checked_key
from rodflow.tracking._iterates import (
    DiscreteRun,
    begin,
    follow,
    one_rounding_unit_away,
    unless_diverged,
)
from rodflow.tracking._solution import FlowRun, begin_flow, follow_flow
from rodflow.tracking.records import FlowTracking, Tracking


class TrackerState(NamedTuple):
    """Everything needed to continue: a pytree of arrays, which may be saved and restored.

    Attributes:
        step: Optimizer steps since tracking started.
        start: The parameters when tracking started.
        run: The iterates.
        twins: The twins, with a leading axis; None without any.
        flows: The flows, by name.
    """

    step: Int[Array, ""]
    start: PyTree
    run: DiscreteRun
    twins: DiscreteRun | None
    flows: dict[str, FlowRun]


class Tracker(eqx.Module):
    """The parts of `track`: start with `init`, continue with `run` for as many records as wanted.

    Parameters that are sharded over a mesh stay so. Trackers of the same loss, transformation and
    flows share compiled programs. The last of these are kept, with what `loss` closes over; many
    hyperparameters are lanes of one program rather than trackers in a loop.
    Theory: docs/theory/tracking.md.

    Args:
        loss: A function of the parameters that returns a scalar.
        tx: The Optax transformation.
        flows: The flows by name; None for the stable and the rod flow.
        integrators: An `Integrator` by the name of its flow.
        every: Optimizer steps between records.
        twins: The number of runs that start one rounding unit away.
        observe, observe_flows: Functions of the `PhaseState` of iterates and of centres of flows.
        iteration: The class of the map.

    Raises:
        ValueError: An argument is of the wrong kind or out of range.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w: jnp.sum(jnp.cosh(w))
        >>> tracker = rodflow.Tracker(loss, optax.sgd(0.1), {"rod": rodflow.RodFlow()}, every=5)
        >>> state = tracker.init(jnp.array([1.0, -2.0]), warmup=10)
        >>> state, first = tracker.run(state, 2)
        >>> state, second = tracker.run(state, 2)
        >>> first.steps, second.steps
        (Array([ 5, 10], dtype=int32), Array([15, 20], dtype=int32))
    """

    iteration: AbstractIteration
    flows: dict[str, AbstractFlow]
    integrators: dict[str, Integrator]
    every: int = eqx.field(static=True)
    twins: int = eqx.field(static=True)
    observe: Callable[[PhaseState], PyTree] | None
    observe_flows: Callable[[PhaseState], PyTree] | None

    def __init__(
        self,
        loss: Callable[[PyTree], Float[Array, ""]],
        tx: optax.GradientTransformation,
        flows: Mapping[str, AbstractFlow] | None = None,
        integrators: Mapping[str, Integrator] | None = None,
        every: int = 10,
        twins: int = 0,
        observe: Callable[[PhaseState], PyTree] | None = None,
        observe_flows: Callable[[PhaseState], PyTree] | None = None,
        iteration: type[AbstractIteration] = Iteration,
    ) -> None:
        self.flows = checked_flows(flows)
        integrators = checked_integrators(integrators, list(self.flows))
        check_count("every", every, 1)
        check_count("twins", twins, 0)
        check_callable("observe", observe)
        check_callable("observe_flows", observe_flows)
        if not (isinstance(iteration, type) and issubclass(iteration, AbstractIteration)):
            raise ValueError(
                f"`iteration` is {shown(iteration)}; it must be a class of maps, "
                "`rodflow.Iteration` or `rodflow.Epoch`."
            )
        self.iteration = iteration(loss, tx)
        self.integrators = {
            name: integrators.get(name, flow.integrator) for name, flow in self.flows.items()
        }
        self.every = every
        self.twins = twins
        self.observe = observe
        self.observe_flows = observe_flows

    def init(
        self, params: PyTree, warmup: int = 0, key: PRNGKeyArray | None = None
    ) -> TrackerState:
        """Run the optimizer for `warmup` steps from `params`, and start flows and twins there.

        Compiled.

        Args:
            params: The parameters, a pytree of real float arrays.
            warmup: Optimizer steps before the start.
            key: Draws the perturbations of the twins.
        """
        check_count("warmup", warmup, 0)
        state = self.iteration.init(params)
        key = jax.random.key(0) if key is None else checked_key(key)
        placement = self.iteration.placed(state.params).placement
        return compiled(Tracker._start, self, state, warmup, key, placement)

    def _start(
        self, state: PhaseState, warmup: int, key: PRNGKeyArray, placement: Placement | None
    ) -> TrackerState:
        iteration = self.iteration.at(placement)
        state = jax.lax.fori_loop(0, warmup, lambda _, z: iteration.step(z), state)
        twins = None
        if self.twins:
            keys = jax.random.split(key, self.twins)
            twins = jax.vmap(lambda k: begin(iteration, one_rounding_unit_away(state, k)))(keys)
        flows = {
            name: begin_flow(flow, iteration, self.integrators[name], state)
            for name, flow in self.flows.items()
        }
        return TrackerState(
            jnp.array(0, jnp.int32), state.params, begin(iteration, state), twins, flows
        )

    def placed(self, params: PyTree) -> Tracker:
        """Return the same tracker for use inside a `jit` of one's own on parameters sharded so.

        Outside of one, the sharding is read off the parameters.
        """
        return eqx.tree_at(lambda t: t.iteration, self, self.iteration.placed(params))

    def run(self, state: TrackerState, num_records: int) -> tuple[TrackerState, Tracking]:
        """Continue for `num_records` records of `every` optimizer steps each.

        Compiled once for each `num_records`; the records of consecutive calls concatenate. The
        state may come from `init`, from an earlier `run`, or from a file.

        Raises:
            ValueError: The state is of a tracker with another transformation, twins or flows.
        """
        self._check_state(state)
        check_count("num_records", num_records, 0)
        placement = self.iteration.placed(state.start).placement
        try:
            return compiled(Tracker._run, self, state, num_records, placement)
        except TypeError as error:
            if "forward-mode" not in str(error):
                raise
            raise ValueError(
                "Diffrax's default adjoint has no derivative in forward mode (jvp, jacfwd); give "
                "every flow an `Integrator` with `adjoint=diffrax.ForwardMode()`."
            ) from error

    def _run(
        self, state: TrackerState, num_records: int, placement: Placement | None
    ) -> tuple[TrackerState, Tracking]:
        iteration = self.iteration.at(placement)
        self._check_flows(iteration, state)
        return jax.lax.scan(lambda s, _: self._record(iteration, s), state, length=num_records)

    def _check_state(self, state: TrackerState) -> None:
        """Refuse a state that another tracker made."""
        if not isinstance(state, TrackerState):
            raise ValueError(
                f"`state` is of type {type(state).__name__}; it must be a TrackerState, as `init` "
                "returns."
            )
        flows, wanted = sorted(state.flows), sorted(self.flows)
        if flows != wanted:
            raise ValueError(f"`state` is of the flows {flows}; this tracker follows {wanted}.")
        twins = 0 if state.twins is None else len(state.twins.diverged_at)
        if twins != self.twins:
            raise ValueError(f"`state` has {twins} twins; this tracker has {self.twins}.")
        self.iteration.check(state.run.state)

    def _check_flows(self, iteration: AbstractIteration, state: TrackerState) -> None:
        """Refuse the states of other flows or solvers of the same names."""
        for name, flow in self.flows.items():
            begin = functools.partial(begin_flow, flow, iteration, self.integrators[name])
            if not alike(jax.eval_shape(begin, state.run.state), state.flows[name]):
                raise ValueError(
                    f"`state` is of another flow or solver than this tracker's flow {name!r}."
                )

    def _record(
        self, iteration: AbstractIteration, state: TrackerState
    ) -> tuple[TrackerState, Tracking]:
        step = state.step + self.every
        run, seen = follow(iteration, state.run, step, self.every)
        average, floor, twins = seen, None, state.twins
        if twins is not None:
            twins, others = jax.vmap(lambda twin: follow(iteration, twin, step, self.every))(twins)
            floor = jnp.mean(jax.vmap(lambda mid: _distance(mid, seen.midpoint))(others.midpoint))
            everyone = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), others, seen)
            average = jax.tree.map(lambda a: jnp.mean(a, axis=0), everyone)
        solved = {
            name: follow_flow(
                flow, iteration, self.integrators[name], state.flows[name], state.step, self.every
            )
            for name, flow in self.flows.items()
        }
        flows = {name: run for name, (run, _) in solved.items()}
        observed, records = self._observed(flows), {}
        for name, flow in self.flows.items():
            _, work = solved[name]
            y, _, _, diverged_at = flows[name]
            center, loss, extent = unless_diverged(
                diverged_at,
                lambda y, f=flow: (f.center(y), f.predicted_loss(iteration, y), f.extent(y)),
                y,
            )
            records[name] = FlowTracking(
                distance=_distance(center, seen.midpoint),
                loss=loss,
                loss_error=_relative(loss, seen.mean_loss),
                extent=extent,
                gradients=work.gradients,
                hessians=work.hessians,
                thirds=work.thirds,
                ensemble_distance=None if twins is None else _distance(center, average.midpoint),
                ensemble_loss_error=None if twins is None else _relative(loss, average.mean_loss),
                observed=jax.tree.map(
                    lambda x, lost=diverged_at >= 0: jnp.where(lost, jnp.nan, x), observed[name]
                ),
                diverged_at=diverged_at,
            )
        tracking = Tracking(
            steps=step,
            loss=seen.loss,
            mean_loss=seen.mean_loss,
            oscillation=seen.oscillation,
            travelled=_distance(seen.midpoint, state.start),
            floor=floor,
            observed=None if self.observe is None else self.observe(seen.state),
            diverged_at=run.diverged_at,
            flows=records,
        )
        return TrackerState(step, state.start, run, twins, flows), tracking

    def _observed(self, flows: dict[str, FlowRun]) -> dict[str, PyTree]:
        """Return the observations at the centre of each flow, made for all of them at once."""
        if self.observe_flows is None or not flows:
            return dict.fromkeys(flows)
        centers = [self.flows[name].phase(run.y) for name, run in flows.items()]
        seen = jax.vmap(self.observe_flows)(jax.tree.map(lambda *z: jnp.stack(z), *centers))
        return {name: jax.tree.map(lambda leaf, i=i: leaf[i], seen) for i, name in enumerate(flows)}


def _distance(a: PyTree, b: PyTree) -> Float[Array, ""]:
    return norm(jax.tree.map(jnp.subtract, a, b))


def _relative(value: Array, reference: Array) -> Array:
    return jnp.abs(value - reference) / jnp.abs(reference)
