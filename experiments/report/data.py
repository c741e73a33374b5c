"""Labelled data sets as JSON, for figures that are drawn without computing anything anew.

Coordinates, attributes and small variables stand as they are. Large variables are lists in JSON
that are compressed by bzip2 and written in base64, which makes them ten times smaller. The last
entry of a file is a checksum of all others.
"""

import bz2
import json
import math
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from experiments.storage.files import with_checksum, without_checksum

DIGITS = 4  # of every number that was measured: more cannot be seen
LARGE = 500  # numbers: fewer take less space as they are


def text(dataset: xr.Dataset, packed: bool = True) -> str:
    """Write a data set as JSON; infinite numbers and NaN are texts in it.

    Args:
        dataset: with numbers, texts and truth values.
        packed: False to leave large variables as they are, as `xarray.Dataset.from_dict` reads
            them.
    """
    least = LARGE if packed else math.inf
    content = {
        "attrs": {str(key): _plain(value) for key, value in dataset.attrs.items()},
        "coords": {str(k): _entry(x, least, exact=True) for k, x in dataset.coords.items()},
        "data_vars": {str(k): _entry(x, least) for k, x in dataset.data_vars.items()},
    }
    lines = [f"{json.dumps(k)}: {_short(x)}" for k, x in with_checksum(content).items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def load(path: Path) -> xr.Dataset:
    """Read a data set.

    Raises:
        ValueError: something was changed since it was written.
    """
    try:
        read = without_checksum(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is not as a command wrote it ({error}); restore it") from error
    variables, coords = (
        {name: (x["dims"], _values(x)) for name, x in read[part].items()}
        for part in ("data_vars", "coords")
    )
    return xr.Dataset(variables, coords, read["attrs"])


def _entry(values: xr.DataArray, least: int | float, exact: bool = False) -> dict[str, Any]:
    array = values.values
    kind = "str" if array.dtype.kind in "OU" else str(array.dtype)
    content = _rounded(array) if array.dtype.kind == "f" and not exact else array.tolist()
    entry = {"dims": list(values.dims), "dtype": kind}
    if array.size < least:
        return entry | {"data": content}
    packed = b64encode(bz2.compress(_short(content).encode())).decode()
    return entry | {"packed": packed}


def _values(entry: dict[str, Any]) -> np.ndarray:
    packed = "packed" in entry
    content = json.loads(bz2.decompress(b64decode(entry["packed"]))) if packed else entry["data"]
    return np.array(content, entry["dtype"])


def _rounded(values: np.ndarray | np.floating) -> Any:
    if isinstance(values, np.ndarray) and values.ndim:
        return [_rounded(part) for part in values]
    value = float(values)
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else str(value)


def _short(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
