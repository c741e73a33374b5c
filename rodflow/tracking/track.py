"""Tracking in one call: an optimizer and flows from the same point, and how well each tracks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rodflow._checks import check_count
from rodflow.flows.flow import AbstractFlow
from rodflow.maps.iteration import AbstractIteration, Iteration, PhaseState
from rodflow.solvers import Integrator
from rodflow.tracking.records import Tracking
from rodflow.tracking.tracker import Tracker


def track(
    loss: Callable[[PyTree], Float[Array, ""]],
    tx: optax.GradientTransformation,
    params: PyTree,
    num_steps: int = 600,
    warmup: int = 20,
    every: int = 10,
    flows: Mapping[str, AbstractFlow] | None = None,
    integrators: Mapping[str, Integrator] | None = None,
    twins: int = 0,
    observe: Callable[[PhaseState], PyTree] | None = None,
    observe_flows: Callable[[PhaseState], PyTree] | None = None,
    key: PRNGKeyArray | None = None,
    iteration: type[AbstractIteration] = Iteration,
) -> Tracking:
    """Run an optimizer and flows from the same point, and record how well each flow tracks.

    The optimizer first takes `warmup` steps from `params`; then run and flows go on side by side
    for `num_steps` steps, recorded every `every` steps. Works under `jit` and `vmap`, with `tx`
    built from traced hyperparameters inside: a new value does not recompile.

    Theory: docs/theory/tracking.md.

    Args:
        loss: A function of the parameters that returns a scalar, without noise: data are closed
            over. For `iteration=rodflow.Epoch`, `Minibatches`.
        tx: Any Optax transformation whose update takes gradients, state and parameters.
        params: The parameters, a pytree of real float arrays.
        num_steps: Optimizer steps that are tracked, a multiple of `every`.
        warmup: Optimizer steps before.
        every: Optimizer steps between records.
        flows: The flows by names of your choice, such as `{"rod": rodflow.RodFlow()}`; None for
            the stable flow as "stable" and the rod flow as "rod".
        integrators: An `Integrator` by the name of its flow, where a flow shall not be solved in
            its default way.
        twins: The number of runs that start one rounding unit away, for the floor.
        observe: A function of the `PhaseState` of the iterates, evaluated at every record.
        observe_flows: A function of the `PhaseState` at the centre of a flow, evaluated at every
            record of every flow.
        key: The random key of the perturbations of the twins; a fixed one for None.
        iteration: The class of the map, of which a step is a unit of time: `Iteration`, or `Epoch`
            for minibatches.

    Returns:
        A `Tracking` of `num_steps // every` records.

    Raises:
        ValueError: No map on phase space can be made of `loss`, `tx` and `params` (see
            `Iteration.init`), a value of `flows` is not a flow, or a number is out of range.

    Examples:
        A valley whose walls get steeper along it, beyond the edge of gradient descent:

        >>> import jax.numpy as jnp, optax, rodflow
        >>> def valley(w):
        ...     walls = (2.05 + w[1]) * w[0] ** 2 / 2 - w[0] ** 4 / 4
        ...     return walls + (w[1] - 0.1) ** 2 / 20
        >>> tracking = rodflow.track(valley, optax.sgd(1.0), jnp.array([0.1, 0.0]), num_steps=100)
        >>> bool(tracking.improvement()["rod"] > 100)
        True
        >>> print(f"{tracking.oscillation[-1]:.4f} {tracking.flows['rod'].extent[-1]:.4f}")
        0.1581 0.1581
    """
    check_count("every", every, 1)
    check_count("num_steps", num_steps, every)
    if num_steps % every:
        raise ValueError(
            f"`num_steps` is {num_steps}; it must be a multiple of `every`, {every}, for example "
            f"{num_steps - num_steps % every}."
        )
    tracker = Tracker(loss, tx, flows, integrators, every, twins, observe, observe_flows, iteration)
    state = tracker.init(params, warmup, key)
    return tracker.run(state, num_steps // every)[1]
