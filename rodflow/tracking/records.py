"""Records of tracking: numbers at the recorded steps, and numbers that follow from them alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from rodflow.tracking._shown import dataset_of, plot_of, summary_of


class FlowTracking(NamedTuple):
    """One flow against the iterates, at the recorded steps.

    Leading axes are those of an outer `vmap`. Distances and lengths are Euclidean norms over all
    parameters, in the units of the parameters. Theory: docs/theory/tracking.md.

    Attributes:
        distance: Distance of the centre of the flow from the midpoint of the iterates.
        loss: The loss that the flow predicts the iterates to average.
        loss_error: Its relative error against the three-step average of the iterates.
        extent: Half the length of the rod, which is how far the iterates are predicted to be from
            their midpoint; 0.0 for a flow without a rod.
        gradients: Evaluations of gradients per optimizer step.
        hessians: Hessian-vector products per optimizer step.
        thirds: Third derivatives along two vectors per optimizer step.
        ensemble_distance: Distance from the mean midpoint of the run and its twins; None without
            twins.
        ensemble_loss_error: Relative error against the mean loss of these; None without twins.
        observed: The value of `observe_flows` at the centre of the flow; None without it.
        diverged_at: The step at which the flow diverged, -1 up to then. Numbers are NaN after it.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w: jnp.sum(jnp.cosh(w))
        >>> flows = {"rod": rodflow.RodFlow()}
        >>> rod = rodflow.track(loss, optax.sgd(0.1), jnp.ones(2), 20, flows=flows).flows["rod"]
        >>> rod.distance.shape, rod.gradients  # two gradients in each of two solver steps
        ((2,), Array([4., 4.], dtype=float32))
    """

    distance: Float[Array, "*lanes records"]
    loss: Float[Array, "*lanes records"]
    loss_error: Float[Array, "*lanes records"]
    extent: Float[Array, "*lanes records"]
    gradients: Float[Array, "*lanes records"]
    hessians: Float[Array, "*lanes records"]
    thirds: Float[Array, "*lanes records"]
    ensemble_distance: Float[Array, "*lanes records"] | None
    ensemble_loss_error: Float[Array, "*lanes records"] | None
    observed: PyTree
    diverged_at: Int[Array, "*lanes records"]


class Tracking(NamedTuple):
    """The records of `track`.

    Leading axes are those of an outer `vmap`. Distances are Euclidean norms over all parameters, in
    the units of the parameters. The midpoint of the iterates and their three-step averages have
    the weights 1/4, 1/2 and 1/4. Theory: docs/theory/tracking.md.

    Attributes:
        steps: Optimizer steps since tracking started.
        loss: The loss of the iterates.
        mean_loss: The three-step average of the loss.
        oscillation: Distance of the iterates from their midpoint; the extent of a flow models it.
        travelled: Distance of the midpoint from where tracking started.
        floor: Mean distance of the twins' midpoints from the run's; None without twins.
        observed: The value of `observe` on the iterates; None without it.
        diverged_at: The step at which the run diverged, -1 up to then. Numbers are NaN after it.
        flows: The records of each flow, by name.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w: jnp.sum(jnp.cosh(w))
        >>> tracking = rodflow.track(loss, optax.sgd(0.1), jnp.ones(2), num_steps=30, flows={})
        >>> tracking.steps
        Array([10, 20, 30], dtype=int32)
        >>> print(*(f"{value:.2f}" for value in tracking.loss))
        2.00 2.00 2.00
    """

    steps: Int[Array, "*lanes records"]
    loss: Float[Array, "*lanes records"]
    mean_loss: Float[Array, "*lanes records"]
    oscillation: Float[Array, "*lanes records"]
    travelled: Float[Array, "*lanes records"]
    floor: Float[Array, "*lanes records"] | None
    observed: PyTree
    diverged_at: Int[Array, "*lanes records"]
    flows: dict[str, FlowTracking]

    def improvement(self) -> dict[str, Float[Array, "*lanes"]]:
        """Return the mean distance of the flow named "stable" over that of each other flow.

        NaN if either diverged.

        Raises:
            ValueError: No flow is named "stable".
        """
        if "stable" not in self.flows:
            raise ValueError(
                f"improvement() compares with a flow named 'stable'; there are {list(self.flows)}."
            )
        mean = {name: jnp.mean(flow.distance, axis=-1) for name, flow in self.flows.items()}
        stable = mean.pop("stable")
        return {name: stable / distance for name, distance in mean.items()}

    def summary(self) -> str:
        """Return a table of the flows, and which of them stopped, when and why.

        Raises:
            ValueError: The records are of several lanes.
        """
        return summary_of(self)

    def plot(self) -> Any:
        """Return a Matplotlib figure of losses and distances; `plot().savefig(...)` stores it.

        Raises:
            ValueError: The records are of several lanes.
            ImportError: Matplotlib is not installed.
        """
        return plot_of(self)

    def to_xarray(self) -> Any:
        """Return all records as an `xarray.Dataset` with the axes step, flow and lanes.

        Raises:
            ImportError: xarray is not installed.
        """
        return dataset_of(self)
