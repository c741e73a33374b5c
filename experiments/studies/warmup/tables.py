"""Tables and findings of the study of warmup."""

import numpy as np
import xarray as xr

from experiments.analysis.numbers import number
from experiments.analysis.table import Table
from experiments.studies.warmup.measures import FIRST, READINGS, Measures

EDGE = 1.0


def tables(found: Measures) -> list[Table]:
    """Tabulate accuracy, loss, interventions, readings and gradients."""
    return [
        _ends(found, "Test accuracy after the last step, minibatches (mean, and least to most)",
              "accuracy"),
        _ends(found, "Training loss after the last step, minibatches", "train_loss"),
        _interventions(found),
        _orders(found),
        _magnitudes(found),
    ]  # fmt: skip


def _ends(found: Measures, title: str, name: str) -> Table:
    ends = found.results[name].sel(gradients="minibatch").transpose("arm", "learning_rate", ...)
    rows = [[str(arm.arm.item()), *(_range(runs.values) for runs in arm)] for arm in ends]
    rates = [f"lr {rate:g}" for rate in ends.learning_rate.values]
    return Table(title, ["arm", *rates], rows)


def _range(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if known.size < values.size:
        return f"diverged ({values.size - known.size} of {values.size})"
    return f"{number(known.mean())} ({number(known.min(), 2)} to {number(known.max(), 2)})"


def _interventions(found: Measures) -> Table:
    runs = found.runs
    rates = [float(rate) for rate in runs.learning_rate.values if rate >= found.rate]
    rows = []
    for gradients in runs.gradients.values:
        for arm in runs.arm.values:
            row = [f"{arm}, {gradients}"]
            for rate in rates:
                one = runs.sel(arm=arm, gradients=gradients, learning_rate=rate)
                names = (*(f"early_{name}" for name in READINGS), "climb", "train_loss")
                row += [_median(one[name]) for name in names]
            rows.append(row)
    quantities = ("spread", "sharpness", "climb", "final loss")
    columns = ["run", *(f"{name}, lr {rate:g}" for rate in rates for name in quantities)]
    title = f"Both readings (first {FIRST} steps) and what happened, medians of the initial weights"
    return Table(title, columns, rows)


def _median(values: xr.DataArray) -> str:
    return number(float(values.median()))


def _orders(found: Measures) -> Table:
    rows = [
        [label, *(f"{number(order.share)} (of {order.pairs})" for order in cases.values())]
        for label, cases in found.orders.items()
    ]
    cases = next(iter(found.orders.values()))
    title = "Share of the pairs of runs in which the one that climbs further has the larger reading"
    return Table(title, ["reading", *cases], rows)


def _magnitudes(found: Measures) -> Table:
    steps = [step for step in (1, 2, 5, FIRST, 20, 50, 100) if step in found.results.step.values]
    at = found.magnitude.sel(step=steps)
    rows = [[str(arm.arm.item()), *map("{:.2f}".format, arm.values)] for arm in at]
    title = f"Median of log10 |g|, minibatches, lr {found.rate:g}"
    return Table(title, ["arm", *(f"step {step}" for step in steps)], rows)


def findings(found: Measures) -> list[str]:
    """Describe what the numbers support."""
    runs = found.runs
    climbs, sharp = runs.climb > 1, runs.early_sharpness > EDGE
    whole, drawn = (climbs.sel(gradients=g) for g in ("full batch", "minibatch"))
    rate = float(runs.learning_rate.max())
    plain, waited = (runs.sel(learning_rate=rate, arm=arm) for arm in ("Adam", "Adam-2k"))

    def change(name: str, gradients: str = "minibatch") -> str:
        before, after = (_median(one[name].sel(gradients=gradients)) for one in (plain, waited))
        return f"from {before} to {after}"

    by_case = zip(*(found.orders[label].items() for label in READINGS.values()), strict=True)
    orders = [
        f"{case[0].upper()}{case[1:]}: the variance puts {number(spread.share)} (of "
        f"{spread.pairs}) of the pairs in order, the sharpness {number(sharpness.share)} (of "
        f"{sharpness.pairs})."
        for (case, spread), (_, sharpness) in by_case
    ]
    last = min(FIRST, int(found.results.step[-1]))
    shift = found.magnitude.sel(step=last) - found.magnitude.sel(step=1)
    moves = ", ".join(f"{arm} {float(shift.sel(arm=arm)):+.2f}" for arm in runs.arm.values)
    return [
        f"The loss climbs above its start in {_count(drawn)} adaptive runs with minibatches, and "
        f"in {_count(whole)} with the full batch, where the ratio has no sampling variance at all.",
        f"Of the runs with an effective sharpness above 1 in the first {FIRST} steps "
        f"{_count(climbs.where(sharp))} climb, of those below it {_count(climbs.where(~sharp))}.",
        f"Second moments that have seen {int(found.results.attrs['wait'])} batches before Adam "
        f"moves take the spread at lr {rate:g} {change('early_spread')}, the sharpness "
        f"{change('early_sharpness')}, and the final loss {change('train_loss')}; with the full "
        "batch, where there is no variance to take, the final loss goes "
        f"{change('train_loss', 'full batch')}.",
        *orders,
        f"From step 1 to {FIRST} at lr {found.rate:g} the median of log10 |g| moves by: {moves}.",
    ]


def _count(happened: xr.DataArray) -> str:
    known = happened.values[~np.isnan(happened.values.astype(float))].astype(bool)
    return f"{known.sum()} of {known.size}"
