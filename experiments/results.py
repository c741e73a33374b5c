"""The results of a run as one labelled data set, and its netCDF file.

Everything that the table and the figure show is in the data set, so both can be made again from the
file alone.
"""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from omegaconf import OmegaConf

import rodflow
from experiments.config import RunConfig
from experiments.storage import write_atomically

# name -> (units, long name); parameters and losses have no unit.
_DISCRETE = {
    "loss": ("1", "loss of the iterates"),
    "mean_loss": ("1", "three-step average (1, 2, 1) / 4 of the loss of the iterates"),
    "travelled": ("1", "distance of the iterates from where tracking started"),
    "diverged_at": ("optimizer steps", "step at which the iterates diverged, -1 if they did not"),
    "floor": ("1", "distance between the iterates and twins started one rounding unit away"),
}
_FLOW = {
    "distance": ("1", "distance between the centre of the flow and the midpoint of the iterates"),
    "loss": ("1", "loss that the flow predicts the iterates to average"),
    "loss_error": ("1", "relative error of the predicted loss against the three-step average"),
    "extent": ("1", "half-length of the rod in parameter space"),
    "gradients": ("1", "gradient evaluations per optimizer step"),
    "diverged_at": ("optimizer steps", "step at which the flow diverged, -1 if it did not"),
    "ensemble_distance": ("1", "distance between the flow and the mean of the run and its twins"),
    "ensemble_loss_error": ("1", "relative error of the loss against the mean of run and twins"),
}


def dataset(
    config: RunConfig, tracking: rodflow.Tracking, seconds: Mapping[str, float]
) -> xr.Dataset:
    """Label the results of a run.

    Args:
        config: what was run.
        tracking: what came out; `tracking.observed` holds the effective sharpnesses, `(K, modes)`.
        seconds: wall-clock time without compilation: of `"discrete"`, and on top of it of each
            flow, in the order that the table and the file shall have.

    Returns:
        A data set with dimensions `step`, `flow` and `mode`. Quantities of flows that share their
        name with one of the iterates are called `flow_...`.
    """
    flows = [name for name in seconds if name != "discrete"]
    sharpness = np.asarray(tracking.observed)
    labelled = xr.Dataset(
        coords={
            "step": ("step", np.asarray(tracking.steps), _label("optimizer steps", "time")),
            "flow": ("flow", flows, {"long_name": "flow"}),
            "mode": ("mode", np.arange(1, sharpness.shape[1] + 1), _label("1", "eigenvalue rank")),
        },
        attrs={
            "title": f"Rod flow against the iterates of {config.optimizer.name}",
            "source": f"rodflow {version('rodflow')}, jax {jax.__version__}",
            "device": jax.devices()[0].device_kind,
            "configuration": OmegaConf.to_yaml(OmegaConf.structured(config)),
        },
    )
    for name, label in _DISCRETE.items():
        values = getattr(tracking, name)
        if values is not None:
            labelled[name] = ("step", np.asarray(values), _label(*label))
    label = _label("1", "eigenvalues of the Hessian over the critical value; 1 is the edge")
    labelled["effective_sharpness"] = (("step", "mode"), sharpness, label)
    for name, label in _FLOW.items():
        values = [getattr(tracking.flows[flow], name) for flow in flows]
        if all(value is not None for value in values):  # None: compared with twins there are not
            key = f"flow_{name}" if name in labelled else name
            labelled[key] = (("flow", "step"), np.asarray(values), _label(*label))
    label = _label("1", "mean distance of the stable flow over mean distance of the flow")
    improvement = tracking.improvement()
    values = [float(improvement.get(flow, 1.0)) for flow in flows]
    labelled["improvement"] = ("flow", values, label)
    label = _label("s", "wall-clock time on top of the discrete run, compilation excluded")
    labelled["seconds"] = ("flow", [seconds[flow] for flow in flows], label)
    label = _label("s", "wall-clock time of the discrete run, compilation excluded")
    labelled["discrete_seconds"] = ((), seconds["discrete"], label)
    return labelled


def save(results: xr.Dataset, path: Path) -> None:
    """Write the data set as netCDF 4, atomically.

    Raises:
        OSError: it could not be written; whatever was there before still is.
    """
    write_atomically(path, bytes(results.to_netcdf(engine="netcdf4")))


def load(path: Path) -> xr.Dataset:
    """Read the data set of a finished run into memory."""
    return xr.load_dataset(path, engine="netcdf4")


def _label(units: str, long_name: str) -> dict[str, str]:
    return {"units": units, "long_name": long_name}
