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

    Args:
        loss: See `Tracker`, as for all that is not said here.
        tx: See `Tracker`.
        params: The parameters, a pytree of real float arrays.
        num_steps: Optimizer steps that are tracked, a multiple of `every`.
        warmup: Optimizer steps before.
        every: Optimizer steps between records.
        flows: See `Tracker`.
        integrators: See `Tracker`.
        twins: See `Tracker`.
        observe: See `Tracker`.
        observe_flows: See `Tracker`.
        key: Draws the perturbations of the twins.
        iteration: See `Tracker`.

    Returns:
        A `Tracking` of `num_steps // every` records.

    Raises:
        ValueError: No map on phase space can be made of `loss`, `tx` and `params` (see
            `Iteration.init`), a flow is none, or a number is out of range.

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
