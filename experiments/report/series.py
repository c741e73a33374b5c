"""The curves of the cells as compact JSON, for the script of the page to draw."""

import json
from typing import Any

import numpy as np
import xarray as xr

from experiments.analysis import paths, summary
from experiments.analysis.style import style
from experiments.report.cells import slugs
from experiments.setup.plane import OF_THE_HESSIAN

DIGITS = 4  # of every number: more cannot be seen
DIGITS_OF_PATHS = 6  # an oscillation is small beside the place where it is
BURST = 40  # steps from before the first burst to where the plane begins
MOST = 2001  # steps of a path
AXES = ("seed", "flow", "mode", "step", "time")
NAMES = {
    "loss": "loss",
    "mean": "mean_loss",
    "floor": "floor",
    "gradient": "gradient_norm",
    "sharpness": "effective_sharpness",
    "flowLoss": "flow_loss",
    "distance": "distance",
    "extent": "extent",
    "oscillation": "oscillation",
    "alternating": "alternating_gradient",
    "flowAlternating": "flow_alternating_gradient",
}
"""Curve of the page -> variable of a cell."""


def series(cells: summary.Cells) -> str:
    """Write all curves of a grid, safe inside a `script` element.

    Axes are in the order seed, flow or mode, step; numbers that are not finite are null.
    """
    names = dict.fromkeys(str(flow) for cell in cells for flow in cell.flow.values)
    styles = {name: style(name)._asdict() for name in names}
    keys = ("label", "color", "dash")
    content = {
        "styles": {name: {key: look[key] for key in keys} for name, look in styles.items()},
        "cells": {slug: curves(cell) for slug, cell in zip(slugs(cells), cells, strict=True)},
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")  # or a name could end the script


def curves(cell: xr.Dataset) -> dict[str, Any]:
    """Return the curves of one cell."""
    # A flow without a rod has extent 0, which a logarithmic axis cannot show.
    cell = cell.assign(extent=cell.extent.where(cell.extent > 0)).sortby("mode")
    found: dict[str, Any] = {
        key: rounded(cell[name].transpose(*AXES, missing_dims="ignore").values)
        for key, name in NAMES.items()
        if name in cell
    }
    found["steps"] = [int(step) for step in cell.step.values]
    found["flows"] = [str(flow) for flow in cell.flow.values]
    if "path" in cell:
        found |= on_the_plane(cell)
    return found


def on_the_plane(cell: xr.Dataset) -> dict[str, Any]:
    """Return the paths of one cell and the variances along its modes.

    Of a long run every third step is taken, or every fifth and so on: an odd number, so that what
    alternates still does.
    """
    steps = cell.sizes["time"]
    stride = -(-steps // MOST) // 2 * 2 + 1
    whole = cell.path.transpose("seed", "time", "mode").values
    rods = cell.rod_path.transpose("seed", "flow", "time", "mode").values
    measured = np.stack([paths.variance(paths.alternation(path)) for path in whole])
    predicted = np.stack([[paths.variance(path) for path in flows] for flows in rods])
    thin = cell.isel(time=slice(None, None, stride)).sortby("mode")
    bursts = [paths.first_burst(path, BURST).stop - 1 for path in whole]
    plain = cell.attrs.get("plane") == OF_THE_HESSIAN

    def columns(name: str) -> list[Any]:
        values = thin[name].transpose(*AXES, missing_dims="ignore").values
        return rounded(values, DIGITS_OF_PATHS)

    return {
        "time": [int(step) for step in thin.time.values],
        "burst": [burst // stride for burst in bursts],
        "axes": "eigenvector of the Hessian" if plain else "mode",
        "path": columns("path"),
        "flowPath": columns("flow_path"),
        "rodPath": columns("rod_path"),
        "variance": rounded(np.swapaxes(measured[:, ::stride], -1, -2)),
        "rodVariance": rounded(np.swapaxes(predicted[:, :, ::stride], -1, -2)),
    }


def rounded(values: np.ndarray, digits: int = DIGITS) -> list[Any]:
    """Return nested lists of numbers with so many significant digits, and None for the others."""
    if values.ndim > 1:
        return [rounded(part, digits) for part in values]
    return [float(f"{x:.{digits}g}") if np.isfinite(x) else None for x in values.tolist()]
