"""What a co-evolution study says, in tables and sentences."""

import xarray as xr

from experiments.analysis.verdicts import number
from experiments.benchmarks.roofline import Arithmetic, bound
from experiments.studies.study import Table

CAVEATS = (
    "Limits: multilayer perceptrons of up to 4 hidden layers and 64 units on 8 x 8 digits, full "
    "batch, and far fewer steps than a network is trained for. Gradient noise, attention, "
    "embeddings and rare classes, to which Adam's lead has been ascribed, are absent.",
    "Selection acts on a random sample of architectures from a space that was chosen by hand and "
    "by people who train with Adam; it is one generation, without mutation. A search that finds "
    "no interaction here does not show that history had none.",
    "Fitness is training loss after a fixed number of steps, so an architecture is fit that trains "
    "fast; it is not what people select by, which is closer to the accuracy on other data.",
    "Only the learning rate is tuned; the other hyperparameters stand at their defaults, which "
    "were found on networks of their time. Intervals resample architectures and seeds, and with "
    "few seeds the latter says little.",
)


def tables(results: xr.Dataset) -> list[Table]:
    """Summarize a study."""
    names = [str(name) for name in results.trained_with.values]
    score = [
        ["random", *(number(value) for value in -results.random.values)],
        *(
            [f"{name}-selected", *(number(-value) for value in row)]
            for name, row in zip(names, results.transfer.values, strict=True)
        ),
    ]
    shown = {
        "interaction with own": "advantage_of_own",
        "change of own rank": "rank_shift",
        "regret": "regret",
    }
    rows = []
    for name in names:
        one = results.sel(trained_with=name)
        intervals = [interval(one, key) for key in shown.values()]
        rows.append([name, *intervals, number(one.p_value_of_own.item(), 2)])
    shares = [
        [str(source), interval(results.sel(source=source), "shares")]
        for source in results.source.values
    ]
    return [
        Table(
            "log10 of the final training loss on test seeds; rows: how architectures were selected",
            ["", *names],
            score,
        ),
        Table(
            "In decades of loss but for the rank; 95 % intervals in brackets",
            ["", *shown, "p"],
            rows,
        ),
        Table("Shares of the variance", ["source", "share"], shares),
        _of_tuned(results),
        _of_cost(results),
        _of_loops(results),
    ]


def interval(results: xr.Dataset, name: str, digits: int = 2) -> str:
    """Write a statistic with its 95 % interval."""
    value, low, high = (number(float(results[name + end]), digits) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def _of_tuned(results: xr.Dataset) -> Table:
    rows = []
    for name in results.optimizer.values:
        one = results.sel(optimizer=name)
        breadth = "n/a"
        if name in results.trained_with.values:
            counted = results.breadth.sel(trained_with=name).item()
            breadth = number(counted * results.attrs["spacing"], 2)
        rate = one.tuned_rate
        rows.append(
            [
                str(name),
                f"{number(float(rate.min()), 2)} to {number(float(rate.max()), 2)}",
                breadth,
                number(float(one.learning_rate_count.mean()), 3),
                str(int(one.edge_hit.sum())),
                number(float(one.tuned_accuracy.median()), 3),
                number(float(one.sharpness.median()), 2),
            ]
        )
    columns = [
        "",
        "best rates",
        "good decades",
        "rates tried",
        "best at an end",
        "held-out accuracy",
        "eff. sharpness",
    ]
    return Table("Learning rates; accuracy and sharpness are medians at the best", columns, rows)


def _of_cost(results: xr.Dataset) -> Table:
    rows = []
    for name in results.optimizer.values:
        one = results.sel(optimizer=name)
        rates = (one.runs / one.run_seconds, results.attrs["steps"] * one.runs / one.run_seconds)
        seconds = (one.run_seconds, one.compile_seconds)
        cells = [*(number(float(rate)) for rate in rates), *(number(float(s)) for s in seconds)]
        rows.append([str(name), str(int(one.runs)), *cells])
    columns = ["", "runs", "runs per second", "steps per second", "running, s", "compiling, s"]
    return Table("Cost of the trainings, each optimizer one program", columns, rows)


def _of_loops(results: xr.Dataset) -> Table:
    titles = {
        "lanes": "lanes of one program",
        "one": "the same program, one run at a time",
        "own": "a program for each architecture, one run at a time",
        "each": "a program for each run",
    }
    optimizer = str(results.loop_optimizer.item())
    one = results.sel(optimizer=optimizer)
    runs, programs = int(one.runs), results.sizes["architecture"]
    rows, reference = [], None
    for way, title in titles.items():
        timed = results.sel(way="own" if way == "each" else way)
        run = float(timed.loop_run_seconds)
        compiled = float(timed.loop_compile_seconds)
        compiled *= {"own": programs, "each": runs}.get(way, 1)
        total = compiled + runs * run
        reference = reference or (run, total)
        ratios = (run / reference[0], total / reference[1])
        rows.append([title, number(1 / run), number(compiled), *(number(x, 2) for x in ratios)])
    columns = ["", "runs per second", "compile, s", "time, run alone", "time, compile included"]
    return Table(f"Cost of the {runs} runs of {optimizer}, relative to lanes", columns, rows)


def findings(results: xr.Dataset) -> list[str]:
    """Say what a study supports."""
    return [
        _of_interaction(results),
        *_of_adam(results),
        *_of_control(results),
        _of_tuning(results),
        _of_lanes(results),
        *CAVEATS,
    ]


def _of_lanes(results: xr.Dataset) -> str:
    count, rate = (
        Arithmetic(*values.sel(operation=list(Arithmetic._fields)).values)
        for values in (results.loop_arithmetic, results.loop_fastest)
    )
    seconds = results.loop_run_seconds
    loop = float(seconds.sel(way="one"))
    faster = number(loop / float(seconds.sel(way="lanes")), 2)
    return (
        f"Lanes run {faster} times as fast as a loop over the same program, compiling left out. "
        f"{bound(count, loop, rate)}"
    )


def _of_interaction(results: xr.Dataset) -> str:
    p = float(results.p_value)
    holds = float(results.diagonal_advantage_low) > 0 and p < 0.05
    verdict = (
        "Architectures suit the optimizer that they were selected under"
        if holds
        else "It is not shown that architectures suit the optimizer that they were selected under"
    )
    return (
        f"{verdict}: the diagonal advantage is {interval(results, 'diagonal_advantage')} decades "
        f"of loss (p = {number(p, 2)}; with shuffled fitness "
        f"{interval(results, 'placebo_diagonal_advantage')}). Of the variance of the scores, "
        f"{interval(results.sel(source='interaction'), 'shares')} is interaction, "
        f"{interval(results.sel(source='architecture'), 'shares')} architecture and "
        f"{interval(results.sel(source='optimizer'), 'shares')} optimizer."
    )


def _of_adam(results: xr.Dataset) -> list[str]:
    if "adam" not in results.trained_with.values:
        return []
    adam = results.sel(trained_with="adam")
    low, high = float(adam.lead_of_shift_low), float(adam.lead_of_shift_high)
    special = (
        "gains more than the others from selection under itself"
        if high < 0
        else "gains less than the others from selection under itself"
        if low > 0
        else "is not told from the others in what it gains from selection under itself"
    )
    place = 1 + int((results.random > adam.random).sum())
    return [
        f"Adam {special}: on the architectures that it selects its rank among "
        f"{results.sizes['trained_with']} changes by {interval(adam, 'rank_shift')} against random "
        f"ones, which is {interval(adam, 'lead_of_shift')} more than the mean change of the others "
        f"on theirs (negative is better). On random architectures it is number {place} by mean "
        f"score, and a search with Adam alone loses {interval(adam, 'regret')} decades of loss to "
        "the joint search."
    ]


def _of_control(results: xr.Dataset) -> list[str]:
    if "basis_everywhere" not in results:
        return []
    low, high = float(results.basis_everywhere_low), float(results.basis_everywhere_high)
    verdict = (
        "is better in its own basis than in a random one"
        if low > 0
        else "is better in a random basis than in its own"
        if high < 0
        else "is not shown to depend on the basis"
    )
    return [
        f"Adam {verdict}: its own takes {interval(results, 'basis_everywhere')} decades off the "
        f"loss on random architectures, and {interval(results, 'basis_selected')} on those that it "
        "selects. Rotated Adam in the place of Adam has the interaction with its own selection "
        f"{interval(results, 'control_advantage_of_own')}, and its rank changes by "
        f"{interval(results, 'control_rank_shift')}."
    ]


def _of_tuning(results: xr.Dataset) -> str:
    hits, cells = int(results.edge_hit.sum()), results.edge_hit.size
    untrained = int((~results.learned).sum())
    sharp = results.sharpness.median("architecture").mean("test_seed").dropna("optimizer")
    told = ", ".join(
        f"{name} {number(value, 2)}"
        for name, value in zip(sharp.optimizer.values, sharp.values, strict=True)
    )
    return (
        f"The best learning rate is at an end of its grid for {hits} of {cells} pairs of "
        f"architecture and optimizer, and {untrained} pairs do not train at any. At the best rate "
        f"the median effective sharpness at the end (1 is the edge of stability) is {told}."
    )
