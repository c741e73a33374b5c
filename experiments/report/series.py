"""The curves of the cells as compact JSON, for the script of the page to draw."""

import json
from typing import Any

import numpy as np
import xarray as xr

from experiments.analysis import summary
from experiments.analysis.style import style
from experiments.report.cells import slugs

DIGITS = 4  # of every number: more cannot be seen
AXES = ("seed", "flow", "mode", "step")
NAMES = {
    "loss": "loss",
    "mean": "mean_loss",
    "floor": "floor",
    "gradient": "gradient_norm",
    "sharpness": "effective_sharpness",
    "flowLoss": "flow_loss",
    "distance": "distance",
    "extent": "extent",
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
    return found


def rounded(values: np.ndarray) -> list[Any]:
    """Return nested lists of numbers with so many significant digits, and None for the others."""
    if values.ndim > 1:
        return [rounded(part) for part in values]
    return [float(f"{x:.{DIGITS}g}") if np.isfinite(x) else None for x in values.tolist()]
