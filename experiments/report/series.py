"""The curves of the cells as compact JSON, for the script of the page to draw."""

import json
from typing import Any

import numpy as np
import xarray as xr

from experiments.analysis import summary
from experiments.report import figures
from experiments.report.cells import slugs

DIGITS = 4  # of every number: more cannot be seen


def series(cells: summary.Cells) -> str:
    """All curves of a study, safe inside a `script` element.

    Axes are in the order seed, flow or mode, step; what is not a finite number is null.
    """
    names = dict.fromkeys(str(flow) for cell in cells for flow in cell.flow.values)
    styles = {name: figures.style(name) for name in names}
    content = {
        "styles": {
            name: {"label": style.label, "color": style.color, "dash": style.dash}
            for name, style in styles.items()
        },
        "cells": {slug: curves(cell) for slug, cell in zip(slugs(cells), cells, strict=True)},
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")  # or a name could end the script


def curves(cell: xr.Dataset) -> dict[str, Any]:
    """The curves of one cell."""
    discrete = {"loss": "loss", "mean": "mean_loss", "floor": "floor", "gradient": "gradient_norm"}
    found = {
        key: rounded(cell[name].transpose("seed", "step").values)
        for key, name in discrete.items()
        if name in cell
    }
    sharpness = cell.effective_sharpness.sortby("mode").transpose("seed", "mode", "step")
    found["sharpness"] = rounded(sharpness.values)
    by_flow = ("seed", "flow", "step")
    for key, name in {"flowLoss": "flow_loss", "distance": "distance"}.items():
        found[key] = rounded(cell[name].transpose(*by_flow).values)
    # A flow without a rod has extent 0, which a logarithmic axis cannot show.
    found["extent"] = rounded(cell.extent.where(cell.extent > 0).transpose(*by_flow).values)
    found["steps"] = [int(step) for step in cell.step.values]
    found["flows"] = [str(flow) for flow in cell.flow.values]
    return found


def rounded(values: np.ndarray) -> list[Any]:
    """Nested lists of numbers with so many significant digits, and None for the others."""
    if values.ndim > 1:
        return [rounded(part) for part in values]
    return [float(f"{x:.{DIGITS}g}") if np.isfinite(x) else None for x in values.tolist()]
