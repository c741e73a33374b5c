"""Tables and findings of a co-evolution study."""

import xarray as xr

from experiments.analysis.numbers import Interval, number
from experiments.analysis.table import Table
from experiments.setup.roofline import Arithmetic, bound

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
WAYS = {
    "lanes": "lanes of one program",
    "one": "the same program, one run at a time",
    "own": "a program for each architecture, one run at a time",
    "each": "a program for each run",
}


def interval(results: xr.Dataset, name: str) -> Interval:
    """Return a statistic with its 95 % interval."""
    return Interval(*(float(results[name + end]) for end in ("", "_low", "_high")))


def _short(value: float) -> str:
    return number(value, 2)


def _text(results: xr.Dataset, name: str) -> str:
    return interval(results, name).text(_short)


def tables(results: xr.Dataset) -> list[Table]:
    """Tabulate scores, statistics, learning rates and costs."""
    names = [str(name) for name in results.trained_with.values]
    selected = zip(names, results.transfer.values, strict=True)
    shown = {
        "interaction with own": "advantage_of_own",
        "change of own rank": "rank_shift",
        "regret": "regret",
    }
    each = [results.sel(trained_with=name) for name in names]
    statistics = {title: [_text(one, key) for one in each] for title, key in shown.items()}
    shares = [
        [str(source), _text(results.sel(source=source), "shares")]
        for source in results.source.values
    ]
    return [
        Table(
            "log10 of the final training loss on test seeds; rows: how architectures were selected",
            ["", *names],
            [
                ["random", *map(number, -results.random.values)],
                *([f"{name}-selected", *map(number, -row)] for name, row in selected),
            ],
        ),
        Table.by_column(
            "In decades of loss but for the rank; 95 % intervals in brackets",
            names,
            statistics | {"p": [_short(one.p_value_of_own.item()) for one in each]},
        ),
        Table("Shares of the variance", ["source", "share"], shares),
        _of_tuned(results),
        _of_cost(results),
        _of_loops(results),
    ]


def _of_tuned(results: xr.Dataset) -> Table:
    names = [str(name) for name in results.optimizer.values]
    rates, over = results.tuned_rate, "architecture"
    ends = zip(rates.min(over).values, rates.max(over).values, strict=True)
    decades = (results.breadth * results.attrs["spacing"]).to_series().to_dict()
    sharpness = results.sharpness.median([over, "test_seed"]).values
    return Table.by_column(
        "Learning rates; accuracy and sharpness are medians at the best",
        names,
        {
            "best rates": [f"{_short(low)} to {_short(high)}" for low, high in ends],
            "good decades": [_short(decades[n]) if n in decades else "n/a" for n in names],
            "rates tried": list(map(number, results.learning_rate_count.mean(over).values)),
            "best at an end": [str(int(count)) for count in results.edge_hit.sum(over).values],
            "held-out accuracy": list(map(number, results.tuned_accuracy.median(over).values)),
            "eff. sharpness": list(map(_short, sharpness)),
        },
    )


def _of_cost(results: xr.Dataset) -> Table:
    rate = results.runs / results.run_seconds
    columns = {
        "runs per second": rate,
        "steps per second": results.attrs["steps"] * rate,
        "running, s": results.run_seconds,
        "compiling, s": results.compile_seconds,
    }
    texts = {"runs": [str(int(count)) for count in results.runs.values]}
    texts |= {title: list(map(number, column.values)) for title, column in columns.items()}
    names = list(map(str, results.optimizer.values))
    return Table.by_column("Cost of the trainings, each optimizer one program", names, texts)


def _of_loops(results: xr.Dataset) -> Table:
    optimizer = str(results.loop_optimizer.item())
    runs = int(results.runs.sel(optimizer=optimizer))
    programs = {"own": results.sizes["architecture"], "each": runs}
    rows, reference = [], None
    for way, title in WAYS.items():
        timed = results.sel(way="own" if way == "each" else way)
        run = float(timed.loop_run_seconds)
        compiled = float(timed.loop_compile_seconds) * programs.get(way, 1)
        total = compiled + runs * run
        reference = reference or (run, total)
        ratios = (run / reference[0], total / reference[1])
        rows.append([title, number(1 / run), number(compiled), *map(_short, ratios)])
    columns = ["", "runs per second", "compile, s", "time, run alone", "time, compile included"]
    return Table(f"Cost of the {runs} runs of {optimizer}, relative to lanes", columns, rows)


def findings(results: xr.Dataset) -> list[str]:
    """Describe what a study supports."""
    return [
        _of_interaction(results),
        *_of_adam(results),
        *_of_control(results),
        _of_tuning(results),
        _of_lanes(results),
        *CAVEATS,
    ]


def _of_interaction(results: xr.Dataset) -> str:
    p = float(results.p_value)
    holds = float(results.diagonal_advantage_low) > 0 and p < 0.05
    suits = "rchitectures suit the optimizer that they were selected under"
    share = {str(s): _text(results.sel(source=s), "shares") for s in results.source.values}
    return (
        f"{'A' if holds else 'It is not shown that a'}{suits}: the diagonal advantage is "
        f"{_text(results, 'diagonal_advantage')} decades of loss (p = {_short(p)}; with shuffled "
        f"fitness {_text(results, 'placebo_diagonal_advantage')}). Of the variance of the scores, "
        f"{share['interaction']} is interaction, {share['architecture']} architecture and "
        f"{share['optimizer']} optimizer."
    )


def _of_adam(results: xr.Dataset) -> list[str]:
    if "adam" not in results.trained_with.values:
        return []
    adam = results.sel(trained_with="adam")
    lead = interval(adam, "lead_of_shift")
    gains = "gains {} than the others from selection under itself"
    special = (
        gains.format("more")
        if lead.high < 0
        else gains.format("less")
        if lead.low > 0
        else "is not told from the others in what it gains from selection under itself"
    )
    place = 1 + int((results.random > adam.random).sum())
    return [
        f"Adam {special}: on the architectures that it selects its rank among "
        f"{results.sizes['trained_with']} changes by {_text(adam, 'rank_shift')} against random "
        f"ones, which is {lead.text(_short)} more than the mean change of the others on theirs "
        f"(negative is better). On random architectures it is number {place} by mean score, and a "
        f"search with Adam alone loses {_text(adam, 'regret')} decades of loss to the joint search."
    ]


def _of_control(results: xr.Dataset) -> list[str]:
    if "basis_everywhere" not in results:
        return []
    gain = interval(results, "basis_everywhere")
    verdict = (
        "is better in its own basis than in a random one"
        if gain.low > 0
        else "is better in a random basis than in its own"
        if gain.high < 0
        else "is not shown to depend on the basis"
    )
    return [
        f"Adam {verdict}: its own takes {gain.text(_short)} decades off the loss on random "
        f"architectures, and {_text(results, 'basis_selected')} on those that it selects. Rotated "
        "Adam in the place of Adam has the interaction with its own selection "
        f"{_text(results, 'control_advantage_of_own')}, and its rank changes by "
        f"{_text(results, 'control_rank_shift')}."
    ]


def _of_tuning(results: xr.Dataset) -> str:
    hits, cells = int(results.edge_hit.sum()), results.edge_hit.size
    untrained = int((~results.learned).sum())
    sharp = results.sharpness.median("architecture").mean("test_seed").dropna("optimizer")
    pairs = zip(sharp.optimizer.values, sharp.values, strict=True)
    told = ", ".join(f"{name} {_short(value)}" for name, value in pairs)
    return (
        f"The best learning rate is at an end of its grid for {hits} of {cells} pairs of "
        f"architecture and optimizer, and {untrained} pairs do not train at any. At the best rate "
        f"the median effective sharpness at the end (1 is the edge of stability) is {told}."
    )


def _of_lanes(results: xr.Dataset) -> str:
    count, rate = (
        Arithmetic(*values.sel(operation=list(Arithmetic._fields)).values)
        for values in (results.loop_arithmetic, results.loop_fastest)
    )
    loop, lanes = (float(results.loop_run_seconds.sel(way=way)) for way in ("one", "lanes"))
    return (
        f"Lanes run {_short(loop / lanes)} times as fast as a loop over the same program, "
        f"compiling left out. {bound(count, loop, rate)}"
    )
