"""What tracking records: numbers at the recorded steps, and what follows from them alone."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree


class FlowTracking(NamedTuple):
    """One flow against the iterates, at the recorded steps.

    `gradients`, `hessians` and `thirds` count evaluations per optimizer step: of gradients, of
    Hessian-vector products and of third derivatives along two vectors. `observed` is what
    `observe_flows` returned at the centre of the flow; None without it.
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
    """What `track` recorded; leading axes are those of an outer `vmap`.

    - `steps`: optimizer steps since tracking started.
    - `loss`, `mean_loss`: L[t] of the iterates and its three-step average Lavg[t].
    - `oscillation`: | w[t] - wmid[t] |, what the extent of a flow is a model of.
    - `travelled`: distance of the midpoint from where tracking started.
    - `floor`: mean distance of the twins' midpoints from the run's; None without twins.
    - `observed`: what `observe` returned; None without it.
    - `diverged_at`: the step at which the run diverged, -1 up to then. Numbers are NaN after it.
    - `flows`: by name; the `ensemble_` fields compare with the mean of the run and its twins.
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
        """Mean distance of the flow named "stable" over that of each other flow.

        NaN if either diverged. **Raises** `ValueError` if no flow is named "stable".
        """
        if "stable" not in self.flows:
            raise ValueError(
                f"improvement() compares with a flow named 'stable'; there are {list(self.flows)}."
            )
        mean = {name: jnp.mean(flow.distance, axis=-1) for name, flow in self.flows.items()}
        stable = mean.pop("stable")
        return {name: stable / distance for name, distance in mean.items()}
