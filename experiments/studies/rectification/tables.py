"""Tables and findings of the study of rectification."""

import xarray as xr

from experiments.analysis.numbers import number
from experiments.analysis.table import Table

SETTLED = 20  # step from which on the variance is small enough for the theory's expansion to hold


def tables(results: xr.Dataset) -> list[Table]:
    """Tabulate the simulated variance against that of the theory."""
    chosen = [t for t in (5, 10, 20, 50, 100, 200) if t in results.time.values]
    at = results.sel(time=chosen)
    means = results["mean"].values
    rows = [
        ["theory", *map(number, at.theory.values)],
        *([f"N({mean:g}, 1)", *map(number, at.variance.sel(mean=mean).values)] for mean in means),
    ]
    columns = ["gradients", *(f"t = {t}" for t in chosen)]
    return [Table("Variance of the adaptive ratio, not rectified", columns, rows)]


def findings(results: xr.Dataset) -> list[str]:
    """Compare the simulation of the first mean with the theory."""
    centred = results.isel(mean=0)
    settled = results.time >= SETTLED
    ratio, fixed = (
        [number(float(end)) for end in (values.min(), values.max())]
        for values in (
            (centred.variance / results.theory).where(settled),
            centred.rectified.where(settled),
        )
    )
    return [
        f"Gradients from N({float(centred['mean']):g}, 1): the simulated variance is {ratio[0]} to "
        f"{ratio[1]} times that of the theory from step {SETTLED} on.",
        f"Rectified it stays between {fixed[0]} and {fixed[1]} there.",
    ]
