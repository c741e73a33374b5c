"""Records of a run as one labelled data set.

Everything that tables, figures and reports show is in the data set, so that all of them can be
made again from it alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

import rodflow
from experiments.configuration.config import RunConfig, identity

# name -> (units, long name); parameters and losses have no unit.
_DISCRETE = {
    "loss": ("1", "loss of the iterates"),
    "mean_loss": ("1", "three-step average (1, 2, 1) / 4 of the loss of the iterates"),
    "oscillation": ("1", "distance between the iterates and their midpoint"),
    "travelled": ("1", "distance of the iterates from where tracking started"),
    "diverged_at": ("optimizer steps", "step at which the iterates diverged, -1 if they did not"),
    "floor": ("1", "distance between the iterates and twins started one rounding unit away"),
}
_OBSERVED = {
    "effective_sharpness": (
        "1",
        "eigenvalues of the Hessian over the critical value; 1 is the edge",
    ),
    "gradient_norm": ("1", "norm of the gradient at the iterates"),
}
_OBSERVED_AT_FLOWS = {
    "effective_sharpness": ("1", "largest effective sharpness at the centre of the flow"),
}
_FLOW = {
    "distance": ("1", "distance between the centre of the flow and the midpoint of the iterates"),
    "loss": ("1", "loss that the flow predicts the iterates to average"),
    "loss_error": ("1", "relative error of the predicted loss against the three-step average"),
    "extent": ("1", "half-length of the rod in parameter space"),
    "gradients": ("1", "gradient evaluations per optimizer step"),
    "hessians": ("1", "Hessian-vector products per optimizer step"),
    "thirds": ("1", "third derivatives in two directions per optimizer step"),
    "diverged_at": ("optimizer steps", "step at which the flow diverged, -1 if it did not"),
    "ensemble_distance": ("1", "distance between the flow and the mean of the run and its twins"),
    "ensemble_loss_error": ("1", "relative error of the loss against the mean of run and twins"),
}


def labelled(tracking: rodflow.Tracking, seeds: list[int], flows: list[str]) -> xr.Dataset:
    """Label what was tracked.

    Args:
        tracking: Records whose leaves have shape `(seeds, records)`; `observed` is that of
            `experiments.setup.observers`.
        seeds: Seeds of the lanes.
        flows: Names of the flows in the order that tables and figures shall have.

    Returns:
        A data set with dimensions `seed`, `flow`, `step` and `mode`. Quantities of flows that share
        their name with one of the iterates are called `flow_...`.
    """
    modes = 1 + np.arange(tracking.observed["effective_sharpness"].shape[-1])
    labelled = xr.Dataset(
        coords={
            "seed": ("seed", np.asarray(seeds), _label("1", "seed of the initial weights")),
            "flow": ("flow", flows, {"long_name": "flow"}),
            "step": ("step", np.asarray(tracking.steps[0]), _label("optimizer steps", "time")),
            "mode": ("mode", modes, _label("1", "rank of the eigenvalue")),
        }
    )
    for name, label in _DISCRETE.items():
        values = getattr(tracking, name)
        if values is not None:
            labelled[name] = (("seed", "step"), np.asarray(values), _label(*label))
    for name, label in _OBSERVED.items():
        values = np.asarray(tracking.observed[name])
        dimensions = ("seed", "step", "mode")[: values.ndim]
        labelled[name] = (dimensions, values, _label(*label))

    def add(name: str, values: list, label: tuple[str, str]) -> None:
        key = f"flow_{name}" if name in labelled else name
        stacked = np.stack([np.asarray(value) for value in values], axis=1)
        labelled[key] = (("seed", "flow", "step"), stacked, _label(*label))

    for name, label in _FLOW.items():
        values = [getattr(tracking.flows[flow], name) for flow in flows]
        if all(value is not None for value in values):  # None: compared with twins there are not
            add(name, values, label)
    observed = [tracking.flows[flow].observed for flow in flows]
    for name, label in _OBSERVED_AT_FLOWS.items():
        if all(seen is not None for seen in observed):
            add(name, [seen[name] for seen in observed], label)
    return labelled


def finished(segments: Sequence[xr.Dataset], config: RunConfig, along: str = "step") -> xr.Dataset:
    """Join the segments of a run, and add what only the whole of it can tell."""
    whole = xr.concat(
        segments,
        along,
        data_vars="minimal",
        coords="minimal",
        compat="equals",
        join="exact",
        combine_attrs="override",
    )
    mean = whole.distance.mean("step", skipna=False)
    whole["improvement"] = mean.sel(flow="stable", drop=True) / mean
    label = "mean distance of the stable flow over mean distance of the flow"
    whole["improvement"].attrs = _label("1", label)
    whole["learning_rate"] = ((), config.optimizer.learning_rate, _label("1", "learning rate"))
    whole.attrs = {
        "title": f"Rod flow against the iterates of {config.optimizer.name}",
        "optimizer": config.optimizer.name,
        "problem": _stem(config.model),
        "data": _stem(config.data),
        "configuration": identity(config),
    }
    return whole


def timed(results: xr.Dataset, seconds: dict[str, float]) -> xr.Dataset:
    """Add the wall-clock times of `"discrete"`, and of each flow on top of that."""
    flows = [seconds[str(flow)] for flow in results.flow.values]
    label = _label("s", "wall-clock time on top of the discrete run, compilation excluded")
    discrete = _label("s", "wall-clock time of the discrete run, compilation excluded")
    return results.assign(
        seconds=("flow", flows, label), discrete_seconds=((), seconds["discrete"], discrete)
    )


def _stem(group: Any) -> str:
    # What a configuration instantiates, `experiments.problems.models.mlp.mlp`, says what it is.
    return group._target_.rpartition(".")[2]


def _label(units: str, long_name: str) -> dict[str, str]:
    return {"units": units, "long_name": long_name}
