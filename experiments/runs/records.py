"""Records of a run as one labelled data set.

Everything that tables, figures and reports show is in the data set, so that all of them can be
made again from it alone.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

import rodflow
from experiments.configuration.config import RunConfig, builder, identity
from experiments.runs.paths import Paths

# name -> long name; all are without a unit, except for the steps at which something diverged.
_UNITS = {"diverged_at": "optimizer steps"}
_DISCRETE = {
    "loss": "loss of the iterates",
    "mean_loss": "three-step average (1, 2, 1) / 4 of the loss of the iterates",
    "oscillation": "distance between the iterates and their midpoint",
    "travelled": "distance of the iterates from where tracking started",
    "diverged_at": "step at which the iterates diverged, -1 if they did not",
    "floor": "distance between the iterates and twins started one rounding unit away",
}
_OBSERVED = {
    "effective_sharpness": "eigenvalues of the Hessian over the critical value; 1 is the edge",
    "gradient_norm": "norm of the gradient at the iterates",
}
_FLOW = {
    "distance": "distance between the centre of the flow and the midpoint of the iterates",
    "loss": "loss that the flow predicts the iterates to average",
    "loss_error": "relative error of the predicted loss against the three-step average",
    "extent": "half-length of the rod in parameter space",
    "gradients": "gradient evaluations per optimizer step",
    "hessians": "Hessian-vector products per optimizer step",
    "thirds": "third derivatives in two directions per optimizer step",
    "diverged_at": "step at which the flow diverged, -1 if it did not",
    "ensemble_distance": "distance between the flow and the mean of the run and its twins",
    "ensemble_loss_error": "relative error of the loss against the mean of run and twins",
}
_OBSERVED_AT_FLOWS = {
    "effective_sharpness": "largest effective sharpness at the centre of the flow"
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
            "seed": ("seed", np.asarray(seeds), _label("seed of the initial weights")),
            "flow": ("flow", flows, {"long_name": "flow"}),
            "step": ("step", np.asarray(tracking.steps[0]), _label("time", "optimizer steps")),
            "mode": ("mode", modes, _label("rank of the eigenvalue")),
        }
    )
    discrete = {name: getattr(tracking, name) for name in _DISCRETE} | tracking.observed
    for name, label in (_DISCRETE | _OBSERVED).items():
        if discrete[name] is not None:  # without twins there is no floor
            values = np.asarray(discrete[name])
            dimensions = ("seed", "step", "mode")[: values.ndim]
            labelled[name] = (dimensions, values, _label(label, _UNITS.get(name, "1")))

    def add(name: str, values: list, label: str) -> None:
        if all(value is not None for value in values):  # compared with twins, or observed
            key = f"flow_{name}" if name in labelled else name
            stacked = np.stack([np.asarray(value) for value in values], axis=1)
            units = _UNITS.get(name, "1")
            labelled[key] = (("seed", "flow", "step"), stacked, _label(label, units))

    for name, label in _FLOW.items():
        add(name, [getattr(tracking.flows[flow], name) for flow in flows], label)
    for name, label in _OBSERVED_AT_FLOWS.items():
        add(name, [(tracking.flows[flow].observed or {}).get(name) for flow in flows], label)
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
    whole["improvement"].attrs = _label(label)
    whole["learning_rate"] = ((), config.optimizer.learning_rate, _label("learning rate"))
    whole.attrs = {
        "title": f"Rod flow against the iterates of {config.optimizer.name}",
        "optimizer": config.optimizer.name,
        # The targets of their configurations, as in `experiments.problems.models.mlp.mlp`.
        "problem": builder(config.model).rpartition(".")[2],
        "data": builder(config.data).rpartition(".")[2],
        "configuration": identity(config),
    }
    return whole


def with_paths(results: xr.Dataset, found: Paths) -> xr.Dataset:
    """Add the paths of a run of one seed, and the wall-clock times that they took.

    The paths are on the plane of the two leading modes at the end, one coordinate for each; they
    are left out if there is no such plane.
    """
    flows = [found.flows[str(name)] for name in results.flow.values]
    seconds = "wall-clock time of {}, compilation excluded"
    gradient = "root mean square of the norm of the gradient at "
    added = {
        "seconds": (
            "flow",
            [path.seconds for path in flows],
            _label(seconds.format("the flow"), "s"),
        ),
        "discrete_seconds": (
            (),
            found.iterates.seconds,
            _label(seconds.format("the iterates"), "s"),
        ),
        "alternating_gradient": (
            ("seed", "step"),
            found.iterates.gradient[None],
            _label(gradient + "two consecutive iterates"),
        ),
        "flow_alternating_gradient": (
            ("seed", "flow", "step"),
            np.stack([path.gradient for path in flows])[None],
            _label(gradient + "the two ends of the rod, or at the flow"),
        ),
    }
    if found.modes is not None:
        time = np.arange(1, 1 + len(found.iterates.center))
        results = results.assign_coords(time=("time", time, _label("time", "optimizer steps")))
        results = results.assign_attrs(plane=found.modes.meaning)
        of_all, of_flows = ("seed", "time", "mode"), ("seed", "flow", "time", "mode")
        added |= {
            "path": (of_all, found.iterates.center[None], _label("coordinates of the iterates")),
            "flow_path": (
                of_flows,
                np.stack([path.center for path in flows])[None],
                _label("coordinates of the centre of the flow"),
            ),
            "rod_path": (
                of_flows,
                np.stack([path.rod for path in flows])[None],
                _label("coordinates of the half-extent of the rod"),
            ),
            "plane_sharpness": (
                ("seed", "mode"),
                found.modes.sharpness[None],
                _label("eigenvalue of each axis of the plane"),
            ),
        }
    return results.assign(added)


def _label(long_name: str, units: str = "1") -> dict[str, str]:
    return {"units": units, "long_name": long_name}
