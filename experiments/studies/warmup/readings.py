"""What the runs of the study of warmup say: what goes wrong early, and which reading foretells it.

A *run* is one arm at one learning rate from one initial weights. Its readings are the medians of
spread and sharpness over what was measured within the first steps. It *climbs* by the ratio of the
largest loss on the training set to the loss at the start. (Not to the least so far: where the loss
is 1e-3, that is what single batches do.) A reading is judged by the share of the pairs of runs with
different climbs in which the run that climbs further has the larger reading, ties being half: 1
foretells climbs, 1/2 says nothing. The learning rate foretells them too, but not within pairs of
one.
"""

import numpy as np
import xarray as xr

from experiments.analysis.verdicts import number
from experiments.studies.study import Table

FIRST = 10  # steps: where Liu et al. see gradients vanish, and the memory of the momentum
READINGS = {"spread": "variance of the ratio", "sharpness": "effective sharpness"}
EDGE = 1.0


def climb(results: xr.Dataset) -> xr.DataArray:
    """The largest loss over that at the start; infinite for a run that diverged."""
    loss = results.loss.where(np.isfinite(results.loss), np.inf)
    return loss.max("step") / loss.isel(step=0, drop=True)


def first(results: xr.Dataset, reading: str) -> xr.DataArray:
    """A reading of each run: its median over the first steps."""
    early = results[reading].where(results.time <= FIRST, drop=True)
    return early.median("time")


def concordance(
    values: np.ndarray, climbs: np.ndarray, groups: np.ndarray | None = None
) -> tuple[float, int]:
    """The share of pairs that a reading puts in order, ties being half; and how many there are.

    Args:
        values: the reading of each run.
        climbs: what it is to foretell; pairs that are equal in it do not count.
        groups: pairs are of one group only, if given.
    """
    pairs = climbs[:, None] > climbs[None, :]
    if groups is not None:
        pairs &= groups[:, None] == groups[None, :]
    above = (values[:, None] > values[None, :]) + 0.5 * (values[:, None] == values[None, :])
    count = int(pairs.sum())
    return (float(above[pairs].mean()) if count else float("nan")), count


def adaptive(results: xr.Dataset) -> xr.Dataset:
    """The runs with an adaptive ratio."""
    return results.drop_sel(arm="SGD")


def magnitude(results: xr.Dataset, step: int) -> xr.DataArray:
    """The median of log10 |g| at a step, to a bin, of the mean histogram of all initial weights."""
    cumulative = results.histogram.sel(step=step).mean("init").cumsum("bin")
    return results.bin[(cumulative >= 0.5 * cumulative.isel(bin=-1)).argmax("bin")].drop_vars("bin")


def tables(results: xr.Dataset) -> list[Table]:
    """Summarize accuracy, loss, interventions, readings and gradients."""
    rates = [float(rate) for rate in results.learning_rate.values]
    headings = ["arm", *(f"lr {rate:g}" for rate in rates)]
    drawn = results.sel(gradients="minibatch")
    by_rate = []
    for title, name in (
        ("Test accuracy after the last step, minibatches (mean, and least to most)", "accuracy"),
        ("Training loss after the last step, minibatches", "train_loss"),
    ):
        rows = [
            [str(arm), *(_range(drawn[name].sel(arm=arm, learning_rate=rate)) for rate in rates)]
            for arm in results.arm.values
        ]
        by_rate.append(Table(title, headings, rows))
    return [*by_rate, _interventions(results), _readings(results), _magnitudes(results)]


def findings(results: xr.Dataset) -> list[str]:
    """What the numbers support, and what they do not."""
    runs = adaptive(results)
    climbs = climb(runs) > 1
    sharp = first(runs, "sharpness") > EDGE
    whole, drawn = (climbs.sel(gradients=g) for g in ("full batch", "minibatch"))
    rate = float(results.learning_rate.max())
    plain, waited = (runs.sel(learning_rate=rate, arm=arm) for arm in ("Adam", "Adam-2k"))
    sentences = [
        f"The loss climbs above its start in {_count(drawn)} adaptive runs with minibatches, and "
        f"in {_count(whole)} with the full batch, where the ratio has no sampling variance at all.",
        f"Of the runs with an effective sharpness above 1 in the first {FIRST} steps "
        f"{_count(climbs.where(sharp))} climb, of those below it {_count(climbs.where(~sharp))}.",
        f"Second moments that have seen {int(results.attrs['wait'])} batches before Adam moves "
        f"take the spread at lr {rate:g} from {_drawn(plain, 'spread')} to "
        f"{_drawn(waited, 'spread')}, the sharpness from {_drawn(plain, 'sharpness')} to "
        f"{_drawn(waited, 'sharpness')}, and the final loss from {_final(plain)} to "
        f"{_final(waited)}; with the full batch, where there is no variance to take, the final "
        f"loss goes from {_final(plain, 'full batch')} to {_final(waited, 'full batch')}.",
    ]
    table = _readings(results)
    shares = {row[0]: row[1:] for row in table.rows}
    for heading, spread, sharpness in zip(
        table.columns[1:], *(shares[label] for label in READINGS.values()), strict=True
    ):
        sentences.append(
            f"{heading[0].upper()}{heading[1:]}: the variance puts {spread} of the pairs in order, "
            f"the sharpness {sharpness}."
        )
    shown = float(results.attrs["shown"])
    moves = ", ".join(f"{arm} {_shift(results, str(arm)):+.2f}" for arm in runs.arm.values)
    sentences.append(
        f"From step 1 to {FIRST} at lr {shown:g} the median of log10 |g| moves by: {moves}."
    )
    return sentences


def _interventions(results: xr.Dataset) -> Table:
    shown = float(results.attrs["shown"])
    rates = [float(rate) for rate in results.learning_rate.values if rate >= shown]
    quantities = ("spread", "sharpness", "climb", "final loss")
    rows = []
    for gradients in results.gradients.values:
        for arm in adaptive(results).arm.values:
            row = [f"{arm}, {gradients}"]
            for rate in rates:
                one = results.sel(arm=[arm], gradients=[gradients], learning_rate=[rate])
                row += [number(float(first(one, name).median())) for name in READINGS]
                row += [number(float(climb(one).median())), _final(one, gradients)]
            rows.append(row)
    columns = ["run", *(f"{name}, lr {rate:g}" for rate in rates for name in quantities)]
    title = f"Both readings (first {FIRST} steps) and what happened, medians of the initial weights"
    return Table(title, columns, rows)


def _readings(results: xr.Dataset) -> Table:
    runs = adaptive(results)
    order = ("arm", "gradients", "learning_rate", "init")
    climbs = climb(runs).transpose(*order)

    def flat(values: xr.DataArray) -> np.ndarray:
        return values.broadcast_like(climbs).transpose(*order).values.ravel()

    happened, rate, gradients = map(flat, (climbs, runs.learning_rate, runs.gradients))
    readings = {label: flat(first(runs, name)) for name, label in READINGS.items()}
    everything = np.ones(happened.size, bool)
    cases = {
        "all pairs": (everything, None),
        "pairs of one lr": (everything, rate),
        "minibatch, of one lr": (gradients == "minibatch", rate),
        "full batch, of one lr": (gradients == "full batch", rate),
    }
    rows = []
    for label, values in (readings | {"learning rate": rate}).items():
        row = [label]
        for chosen, groups in cases.values():
            group = None if groups is None else groups[chosen]
            share, count = concordance(values[chosen], happened[chosen], group)
            row.append(f"{number(share)} (of {count})")
        rows.append(row)
    title = "Share of the pairs of runs in which the one that climbs further has the larger reading"
    return Table(title, ["reading", *cases], rows)


def _magnitudes(results: xr.Dataset) -> Table:
    rate = float(results.attrs["shown"])
    shown = results.sel(gradients="minibatch", learning_rate=rate)
    steps = [step for step in (1, 2, 5, FIRST, 20, 50, 100) if step in results.step.values]
    rows = [
        [str(arm), *(f"{float(magnitude(shown.sel(arm=arm), step)):.2f}" for step in steps)]
        for arm in results.arm.values
    ]
    title = f"Median of log10 |g|, minibatches, lr {rate:g}"
    return Table(title, ["arm", *(f"step {step}" for step in steps)], rows)


def _shift(results: xr.Dataset, arm: str) -> float:
    shown = results.sel(gradients="minibatch", learning_rate=float(results.attrs["shown"]), arm=arm)
    last = min(FIRST, int(results.step[-1]))
    return float(magnitude(shown, last) - magnitude(shown, 1))


def _drawn(runs: xr.Dataset, reading: str) -> str:
    return number(float(first(runs, reading).sel(gradients="minibatch").median()))


def _final(runs: xr.Dataset, gradients: str = "minibatch") -> str:
    return number(float(runs.train_loss.sel(gradients=gradients).median()))


def _range(values: xr.DataArray) -> str:
    known = values.values[np.isfinite(values.values)]
    if known.size < values.size:
        return f"diverged ({values.size - known.size} of {values.size})"
    return f"{number(known.mean())} ({number(known.min(), 2)} to {number(known.max(), 2)})"


def _count(happened: xr.DataArray) -> str:
    known = happened.values[~np.isnan(happened.values.astype(float))].astype(bool)
    return f"{known.sum()} of {known.size}"
