"""What the runs of the study of warmup say: spikes of the loss, and which reading foretells them.

A *run* is one arm at one learning rate from one initial weights. Its readings are the medians of
spread and sharpness over what was measured within the first steps; it *spikes* where its loss on
the training set rises to a multiple of its least so far. The share of pairs, one run that spikes
and one that does not, in which the former has the larger reading is 1 for a reading that foretells
spikes, 1/2 for one that says nothing. The learning rate does so too, but within pairs of one.
"""

import numpy as np
import xarray as xr

from experiments.studies.study import Table
from experiments.verdicts import CATAPULT, number

FIRST = 10  # steps: where Liu et al. see gradients vanish, and the memory of the momentum
READINGS = {"spread": "variance of the ratio", "sharpness": "effective sharpness"}
EDGE = 1.0


def overshoot(results: xr.Dataset) -> xr.DataArray:
    """The largest ratio of the loss to its least so far; infinite for a run that diverged."""
    loss = results.loss.transpose(..., "step")
    finite = np.where(np.isfinite(loss.values), loss.values, np.inf)
    least = np.minimum.accumulate(finite, axis=-1)
    return loss.isel(step=0, drop=True).copy(data=(finite / least).max(axis=-1))


def first(results: xr.Dataset, reading: str) -> xr.DataArray:
    """A reading of each run: its median over the first steps."""
    early = results[reading].where(results.time <= FIRST, drop=True)
    return early.median("time")


def separation(
    values: np.ndarray, spikes: np.ndarray, groups: np.ndarray | None = None
) -> tuple[float, int]:
    """The share of pairs that a reading puts in order, ties being half; and how many there are.

    Args:
        values: the reading of each run.
        spikes: whether the run spikes.
        groups: pairs are of one group only, if given.
    """
    pairs = spikes[:, None] & ~spikes[None, :]
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
    spikes = overshoot(runs) >= CATAPULT
    sharp = first(runs, "sharpness") > EDGE
    whole, drawn = (spikes.sel(gradients=g) for g in ("full batch", "minibatch"))
    adam, waited = (drawn.sel(arm=arm) for arm in ("Adam", "Adam-2k"))
    sentences = [
        f"Spikes (the loss {CATAPULT:g} times its least so far): in {_count(drawn)} runs with "
        f"minibatches and in {_count(whole)} with the full batch, where gradients have no sampling "
        "variance at all.",
        f"Of the runs with an effective sharpness above 1 in the first {FIRST} steps "
        f"{_count(spikes.where(sharp))} spike, of those below it {_count(spikes.where(~sharp))}.",
        f"Adam spikes in {_count(adam)} runs with minibatches, Adam-2k, whose second moment has "
        f"seen {int(results.attrs['wait'])} batches before it moves, in {_count(waited)}: the "
        f"spread is {number(_median(runs, 'spread', 'Adam'))} for the one and "
        f"{number(_median(runs, 'spread', 'Adam-2k'))} for the other.",
    ]
    table = _readings(results)
    for name, *entries in table.rows:
        sentences.append(
            f"In order by {name}: "
            + ", ".join(
                f"{entry} of {heading}"
                for heading, entry in zip(table.columns[1:], entries, strict=True)
            )
            + "."
        )
    rate = float(results.attrs["shown"])
    plain = _shift(results, "Adam")
    others = {str(arm): _shift(results, str(arm)) for arm in runs.arm.values if arm != "Adam"}
    told = ", ".join(f"{arm} {_signed(shift)}" for arm, shift in others.items())
    sentences.append(
        f"From step 1 to {FIRST} at lr {rate:g} the median of log10 |g| moves by {_signed(plain)} "
        f"for Adam; {told}."
    )
    return sentences


def _interventions(results: xr.Dataset) -> Table:
    rate = float(results.attrs["shown"])
    rows = []
    for gradients in results.gradients.values:
        for arm in adaptive(results).arm.values:
            one = results.sel(arm=[arm], gradients=gradients, learning_rate=[rate])
            rises = overshoot(one)
            rows.append(
                [
                    f"{arm}, {gradients}",
                    number(float(first(one, "spread").median())),
                    number(float(first(one, "sharpness").median())),
                    number(float(rises.median())),
                    _count(rises >= CATAPULT),
                    number(float(one.train_loss.median())),
                ]
            )
    columns = ["run", "spread", "sharpness", "loss rises by", "spikes", "final loss"]
    title = f"Both readings (first {FIRST} steps) and what happened, lr {rate:g}, medians"
    return Table(title, columns, rows)


def _readings(results: xr.Dataset) -> Table:
    runs = adaptive(results)
    order = ("arm", "gradients", "learning_rate", "init")
    spikes = overshoot(runs).transpose(*order)
    rate = runs.learning_rate.broadcast_like(spikes).transpose(*order).values.ravel()
    minibatch = (
        runs.gradients.broadcast_like(spikes).transpose(*order).values.ravel() == "minibatch"
    )
    happened = spikes.values.ravel() >= CATAPULT
    readings = {
        label: first(runs, name).transpose(*order).values.ravel()
        for name, label in READINGS.items()
    } | {"learning rate": rate}
    rows = []
    for label, values in readings.items():
        cases = [
            separation(values, happened),
            separation(values, happened, rate),
            separation(values[minibatch], happened[minibatch]),
            separation(values[minibatch], happened[minibatch], rate[minibatch]),
        ]
        rows.append([label, *(f"{number(share)} ({count})" for share, count in cases)])
    columns = ["reading", "all pairs", "pairs of one lr", "minibatch", "minibatch, of one lr"]
    return Table(
        "Share of pairs (how many) whose spiking run has the larger reading", columns, rows
    )


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


def _median(runs: xr.Dataset, reading: str, arm: str) -> float:
    return float(first(runs.sel(gradients="minibatch", arm=arm), reading).median())


def _range(values: xr.DataArray) -> str:
    known = values.values[np.isfinite(values.values)]
    if known.size < values.size:
        return f"diverged ({values.size - known.size} of {values.size})"
    return f"{number(known.mean())} ({number(known.min(), 2)} to {number(known.max(), 2)})"


def _count(happened: xr.DataArray) -> str:
    known = happened.values[~np.isnan(happened.values.astype(float))].astype(bool)
    return f"{known.sum()} of {known.size}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"
