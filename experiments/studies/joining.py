"""Joining the parts of a study along a new dimension."""

from collections.abc import Mapping

import pandas as pd
import xarray as xr


def along(dimension: str, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Stack data sets with the same coordinates; their names label the new dimension.

    As an index, for as arrays the names would be cut to the length of the first.
    """
    index = pd.Index(list(parts), name=dimension)
    return xr.concat(list(parts.values()), index, join="exact", combine_attrs="drop")
