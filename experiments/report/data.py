"""Labelled data sets as JSON, for figures that are drawn without computing anything anew."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from experiments.storage.files import check_sum, summed

DIGITS = 4  # of every number that was measured: more cannot be seen


def text(dataset: xr.Dataset) -> str:
    """Write a data set as JSON; infinite numbers and NaN are texts in it."""
    content = {
        "attrs": {str(key): _plain(value) for key, value in dataset.attrs.items()},
        "coords": {str(k): _entry(x, exact=True) for k, x in dataset.coords.items()},
        "data_vars": {str(k): _entry(x) for k, x in dataset.data_vars.items()},
    }
    return json.dumps(summed(content), separators=(",", ":"), allow_nan=False) + "\n"


def load(path: Path) -> xr.Dataset:
    """Read a data set.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged.
    """
    try:
        read = check_sum(path, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is no data set ({error})") from error
    variables, coords = (
        {name: (x["dims"], np.array(x["data"], x["dtype"])) for name, x in read[part].items()}
        for part in ("data_vars", "coords")
    )
    return xr.Dataset(variables, coords, read["attrs"])


def _entry(values: xr.DataArray, exact: bool = False) -> dict[str, Any]:
    array = values.values
    kind = "str" if array.dtype.kind in "OU" else str(array.dtype)
    content = _nested(array) if array.dtype.kind == "f" and not exact else array.tolist()
    return {"dims": list(values.dims), "dtype": kind, "data": content}


def _nested(values: np.ndarray | np.floating) -> Any:
    if isinstance(values, np.ndarray) and values.ndim:
        return [_nested(part) for part in values]
    value = float(values)
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else str(value)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
