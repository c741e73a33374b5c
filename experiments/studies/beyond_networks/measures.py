"""Measures of the study, made once from its results: losses above the infimum, and places."""

import numpy as np
import xarray as xr
from scipy.stats import rankdata

from experiments.studies.beyond_networks.methods import METHODS

RESOLUTION = 1e-6
"""Relative resolution of a loss in float32; losses closer to the infimum count as equal to it."""
TINY = 1e-12  # the resolution where the infimum is 0


def measured(results: xr.Dataset) -> xr.Dataset:
    """Add measures to the results.

    Returns:
        The results with `label` (of each method), `excess` (loss above its infimum, at least what
        can be told from it; infinite if diverged), `middle` (its geometric mean over the test
        seeds), `final` (`middle` at the end) and `place` (of each method on each problem, 1 the
        lowest loss; equal losses share their places).
    """
    least = np.maximum(RESOLUTION * results.infimum, TINY)
    above = (results.loss - results.infimum).fillna(np.inf)
    ran = results.passes.isel(record=0).notnull()
    excess = np.maximum(above, least).where(ran)
    middle = np.exp(xr.apply_ufunc(np.log, excess).mean("seed", skipna=False))
    final = middle.isel(record=-1).transpose("problem", "regime", "method")
    places = rankdata(final.values, axis=-1, nan_policy="omit")
    return results.assign(
        excess=excess,
        middle=middle,
        final=final,
        place=final.copy(data=np.where(final.isnull(), np.nan, places)),
        label=("method", [METHODS[str(key)].label for key in results.method.values]),
    )
