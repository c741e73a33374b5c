"""How well do flows follow an optimizer? Discrete run and flows in lockstep, in one program.

A flow is compared with the midpoint and the averaged loss of the iterates (MATH.md section 7):

    distance(t)   = || w_flow(t) - wmid[t] ||_2      loss_error(t) = |L_flow(t) - Lavg[t]| / Lavg[t]

Only what is needed for the next record is kept, so memory does not grow with the number of steps.
Training at the edge of stability is chaotic: *twins*, runs started one rounding unit away, tell how
well the optimizer agrees with itself. Their spread is the floor of every distance.

A run or a flow that diverges stops where it was; its step is marked and its numbers are NaN from
there on. Under `vmap` the other lanes do not notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rodflow._checks import check_count
from rodflow.flows.flow import AbstractFlow
from rodflow.flows.rod import RodFlow
from rodflow.flows.stable import StableFlow
from rodflow.linalg.trees import norm
from rodflow.maps.iteration import Iteration, PhaseState
from rodflow.maps.placement import Placement, placement_of
from rodflow.solvers import Integrator
from rodflow.tracking._iterates import (
    DiscreteRun,
    begin,
    follow,
    one_rounding_unit_away,
    unless_diverged,
)
from rodflow.tracking._solution import FlowRun, begin_flow, follow_flow
from rodflow.tracking.records import FlowTracking, Tracking

FlowBuilder = Callable[[Iteration], AbstractFlow]
IterationBuilder = Callable[[Any, optax.GradientTransformation], Iteration]


class TrackerState(NamedTuple):
    """Everything needed to continue: a pytree of arrays, which may be saved and restored."""

    step: Int[Array, ""]
    start: PyTree
    run: DiscreteRun
    twins: DiscreteRun | None
    flows: dict[str, FlowRun]


class Tracker(eqx.Module):
    """`track` in pieces: start with `init`, continue with `run` for as many records as wanted.

    Arguments:

    - `loss`, `tx`: as for `iteration`.
    - `flows`: name -> a function from the iteration to a flow (`rodflow.RodFlow`, or a partial).
    - `integrators`: name -> `Integrator`, where a flow shall not be solved in its default way.
    - `every`: optimizer steps between records.
    - `twins`: number of runs started one rounding unit away, for the floor.
    - `observe`: evaluated on the iterates' `PhaseState` at every record.
    - `observe_flows`: evaluated on the `PhaseState` at the centre of every flow.
    - `iteration`: the map that they make, of which a step is a unit of time; `Iteration`, or
        `Epoch` for minibatches.

    Parameters that are sharded over a mesh stay so (`rodflow.maps`). A tracker compiles its
    own programs, and JAX keeps them with what `loss` closes over (until `jax.clear_caches()`): many
    hyperparameters are lanes of one program rather than trackers in a loop.

    **Raises** `ValueError` for unknown integrators and numbers out of range.
    """

    iteration: Iteration
    flows: dict[str, AbstractFlow]
    integrators: dict[str, Integrator]
    every: int
    twins: int
    observe: Callable[[PhaseState], PyTree] | None
    observe_flows: Callable[[PhaseState], PyTree] | None

    def __init__(
        self,
        loss: Callable[[PyTree], Float[Array, ""]],
        tx: optax.GradientTransformation,
        flows: Mapping[str, FlowBuilder] | None = None,
        integrators: Mapping[str, Integrator] | None = None,
        every: int = 10,
        twins: int = 0,
        observe: Callable[[PhaseState], PyTree] | None = None,
        observe_flows: Callable[[PhaseState], PyTree] | None = None,
        iteration: IterationBuilder = Iteration,
    ) -> None:
        if flows is None:
            flows = {"stable": StableFlow, "rod": RodFlow}
        integrators = dict(integrators or {})
        unknown = sorted(set(integrators) - set(flows))
        if unknown:
            raise ValueError(f"`integrators` names {unknown}; the flows are {list(flows)}.")
        check_count("every", every, 1)
        check_count("twins", twins, 0)
        self.iteration = iteration(loss, tx)
        self.flows = {name: build(self.iteration) for name, build in flows.items()}
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

        `key` draws the perturbations of the twins. Compiled.
        """
        check_count("warmup", warmup, 0)
        state = self.iteration.init(params)
        key = jax.random.key(0) if key is None else key
        return self._start(state, warmup, key, placement_of(state.params))

    @eqx.filter_jit
    def _start(
        self, state: PhaseState, warmup: int, key: PRNGKeyArray, placement: Placement | None
    ) -> TrackerState:
        self.iteration.place(placement)
        state = jax.lax.fori_loop(0, warmup, lambda _, z: self.iteration.step(z), state)
        twins = None
        if self.twins:
            keys = jax.random.split(key, self.twins)
            twins = jax.vmap(lambda k: begin(self.iteration, one_rounding_unit_away(state, k)))(
                keys
            )
        flows = {
            name: begin_flow(flow, self.integrators[name], state, placement)
            for name, flow in self.flows.items()
        }
        return TrackerState(
            jnp.array(0, jnp.int32), state.params, begin(self.iteration, state), twins, flows
        )

    def run(self, state: TrackerState, num_records: int) -> tuple[TrackerState, Tracking]:
        """Continue for `num_records` records of `every` optimizer steps each.

        Compiled once for each `num_records`; the records of consecutive calls concatenate.
        """
        check_count("num_records", num_records, 0)
        return self._run(state, num_records, placement_of(state.start))

    @eqx.filter_jit
    def _run(
        self, state: TrackerState, num_records: int, placement: Placement | None
    ) -> tuple[TrackerState, Tracking]:
        self.iteration.place(placement)
        return jax.lax.scan(lambda s, _: self._record(s), state, length=num_records)

    def _record(self, state: TrackerState) -> tuple[TrackerState, Tracking]:
        step = state.step + self.every
        run, seen = follow(self.iteration, state.run, step, self.every)
        average, floor, twins = seen, None, state.twins
        if twins is not None:
            twins, others = jax.vmap(lambda twin: follow(self.iteration, twin, step, self.every))(
                twins
            )
            floor = jnp.mean(jax.vmap(lambda mid: _distance(mid, seen.midpoint))(others.midpoint))
            everyone = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), others, seen)
            average = jax.tree.map(lambda a: jnp.mean(a, axis=0), everyone)
        solved = {
            name: follow_flow(
                flow, self.integrators[name], state.flows[name], state.step, self.every
            )
            for name, flow in self.flows.items()
        }
        flows = {name: run for name, (run, _) in solved.items()}
        observed, records = self._observed(flows), {}
        for name, flow in self.flows.items():
            _, work = solved[name]
            y, _, _, diverged_at = flows[name]
            center, loss, extent = unless_diverged(
                diverged_at, lambda y, f=flow: (f.center(y), f.predicted_loss(y), f.extent(y)), y
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
        """What there is to observe at the centre of each flow, found for all of them at once."""
        if self.observe_flows is None or not flows:
            return dict.fromkeys(flows)
        centers = [self.flows[name].phase(run.y) for name, run in flows.items()]
        seen = jax.vmap(self.observe_flows)(jax.tree.map(lambda *z: jnp.stack(z), *centers))
        return {name: jax.tree.map(lambda leaf, i=i: leaf[i], seen) for i, name in enumerate(flows)}


def track(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    params: PyTree,
    num_steps: int = 600,
    warmup: int = 20,
    every: int = 10,
    flows: Mapping[str, FlowBuilder] | None = None,
    integrators: Mapping[str, Integrator] | None = None,
    twins: int = 0,
    observe: Callable[[PhaseState], PyTree] | None = None,
    observe_flows: Callable[[PhaseState], PyTree] | None = None,
    key: PRNGKeyArray | None = None,
    iteration: IterationBuilder = Iteration,
) -> Tracking:
    """Run an optimizer and flows from the same point, and record how well each flow tracks.

    The optimizer first takes `warmup` steps from `params`; then run and flows go on side by side
    for `num_steps` steps, recorded every `every` steps. Works under `jit` and `vmap`, with `tx`
    built from traced hyperparameters inside: a new value does not recompile.

    **Arguments:** see `Tracker`; `flows` are the stable and the rod flow unless given, and `key`
    draws the perturbations of the twins.

    **Returns** a `Tracking` of `num_steps // every` records.

    **Raises** `ValueError` for what no map on phase space can be (see `Iteration.init`) and for
    numbers out of range.

    Source: MATH.md section 7.
    """
    check_count("every", every, 1)
    check_count("num_steps", num_steps, every)
    tracker = Tracker(loss, tx, flows, integrators, every, twins, observe, observe_flows, iteration)
    state = tracker.init(params, warmup, key)
    return tracker.run(state, num_steps // every)[1]


def _distance(a: PyTree, b: PyTree) -> Float[Array, ""]:
    return norm(jax.tree.map(jnp.subtract, a, b))


def _relative(value: Array, reference: Array) -> Array:
    return jnp.abs(value - reference) / jnp.abs(reference)
