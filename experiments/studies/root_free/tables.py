"""Tables and findings of the study of root-free methods."""

import numpy as np

from experiments.analysis.numbers import Interval, number
from experiments.analysis.table import Table
from experiments.analysis.verdicts import EDGE
from experiments.studies.root_free.measures import EXPONENTS, HALVES, LABELS, PARENTS, Measures

AIM_HALF = 0.05  # of the final loss, in bfloat16 against float32
AIM_TIME = 5.0  # time of a step of IF-Shampoo in steps of AdamW
LIMITS = (
    "Networks of a few thousand parameters on hundreds of small images, one split: differences "
    "of a point or less, and what happens at the scale of the paper, cannot be seen here."
)


def tables(found: Measures) -> list[Table]:
    """Tabulate accuracies, precision, scaling, the edge and steps."""
    return [_tested(found), _halves(found), _scaling(found), _edge(found), _steps(found)]


def _percent(interval: Interval) -> str:
    return interval.text(lambda x: f"{100 * x:.1f}")


def _tested(found: Measures) -> Table:
    rows = [
        [
            f"{model}, {LABELS[method]}",
            _percent(one.accuracy[""]),
            _percent(one.above["sgd"]) if method != "sgd" else "-",
            one.loss.text("{:.3f}".format),
            number(one.train_loss),
            number(one.learning_rate),
        ]
        for (model, method), one in found.tested.items()
    ]
    return Table(
        "Test accuracy (%) and loss of the chosen configurations, 95 % bootstrap intervals",
        ["", "test accuracy", "minus SGD", "test loss", "training loss", "learning rate"],
        rows,
    )


def _halves(found: Measures) -> Table:
    rows = []
    for (model, method), one in found.tested.items():
        if not np.isnan(one.half_ratios).any():
            accuracies = [_percent(one.accuracy[prefix]) for prefix in HALVES]
            rows.append([f"{model}, {LABELS[method]}", *map(number, one.half_ratios), *accuracies])
    bare = "not compensated"
    return Table(
        "The same in bfloat16, parameters and all, with and without compensation for what "
        "rounding takes from them",
        ["", "training loss over that in float32", bare, "test accuracy, %", bare],
        rows,
    )


def _scaling(found: Measures) -> Table:
    rows = []
    for method, best in found.best.items():
        pairs = zip(best.rates, best.interior, strict=True)
        texts = [number(rate) + ("" if inside else " (end)") for rate, inside in pairs]
        exponents = [f"{best.exponent:z.2f}", f"{EXPONENTS[method]}"]
        rows.append([LABELS[method], *texts, *exponents])
    sizes = [f"B = {size}" for size in found.results.batch_size.values]
    return Table(
        "Best learning rate against the batch size, at the same number of samples seen",
        ["", *sizes, "exponent", "expected"],
        rows,
    )


def _edge(found: Measures) -> Table:
    rows = []
    for method, label in LABELS.items():
        one = found.results.sel({"method": method})
        known = one.single_sharpness.notnull().any()
        single = one.single_sharpness.quantile([0.5, 0.95]).values if known else [np.nan] * 2
        largest = number(float(one.sharpness.max()))
        improvement = number(found.improvement[method])
        rows.append(
            [label, number(float(one.edge_rate)), largest, improvement, *map(number, single)]
        )
    columns = [
        *("", "learning rate", "largest effective sharpness", "improvement of the rod flow"),
        *("median coordinate", "95 % of the coordinates"),
    ]
    title = "At the edge, full batch; of the coordinates: effective sharpness at the end"
    return Table(title, columns, rows)


def _steps(found: Measures) -> Table:
    one = found.results.sel({"method": list(LABELS)})
    relative = one.step_seconds / one.step_seconds.sel({"method": "adamw"})
    return Table.by_column(
        "Steps: time on the full batch, and the share of first updates of the median size",
        list(LABELS.values()),
        {
            "ms": [f"{1e3 * seconds:.2f}" for seconds in one.step_seconds.values],
            "over AdamW": list(map(number, relative.values)),
            "within 1 %": [f"{share:.2f}" for share in one.alike.values],
        },
    )


def findings(found: Measures) -> list[str]:
    """Describe what the results support, claim by claim."""
    return [*_of_accuracy(found), *_of_halves(found), *_of_scaling(found), *_of_edge(found), LIMITS]


def _of_accuracy(found: Measures) -> list[str]:
    sentences = []
    for model in map(str, found.results.model.values):
        for method, parent in PARENTS.items():
            mine, parents = found.tested[model, method], found.tested[model, parent]
            difference = mine.above[parent]
            sentences.append(
                f"{model}: {LABELS[parent]} is {_percent(parents.above['sgd'])} points of test "
                f"accuracy from SGD, {LABELS[method]} {_percent(mine.above['sgd'])}; without the "
                f"root {_percent(difference)} {_verdict(difference)}."
            )
    return sentences


def _verdict(difference: Interval) -> str:
    if difference.low > 0:
        return "(better: the interval is above 0)"
    if difference.high < 0:
        return "(worse: the interval is below 0)"
    return "(no difference that these seeds can tell)"


def _of_halves(found: Measures) -> list[str]:
    sentences = []
    for model in map(str, found.results.model.values):
        compensated, bare = found.tested[model, "if_shampoo"].half_ratios
        if not np.isnan([compensated, bare]).any():
            within = "within" if abs(compensated - 1) <= AIM_HALF else "not within"
            sentences.append(
                f"{model}: the final loss of IF-Shampoo in bfloat16 is {number(compensated)} times "
                f"that in float32, {within} {100 * AIM_HALF:.0f} %; where what rounding takes from "
                f"the parameters is not compensated, {number(bare)} times."
            )
    return sentences


def _of_scaling(found: Measures) -> list[str]:
    slopes = ", ".join(
        f"{LABELS[method]} B^{best.exponent:z.2f} (expected {EXPONENTS[method]:g})"
        for method, best in found.best.items()
    )
    alike = found.results.alike
    signs = [label for name, label in LABELS.items() if alike.sel({"method": name}) > 0.9]
    return [
        f"The best learning rate grows like {slopes}.",
        "The first step is sign descent (more than 90 % of the coordinates move equally far) for "
        f"{', '.join(signs) or 'none'}.",
    ]


def _of_edge(found: Measures) -> list[str]:
    sentences = []
    for method in EXPONENTS:
        one = found.results.sel(scaled=method)
        sharp, losses, curvature = one.quadratic_sharpness, one.quadratic_loss, one.curvature
        apart, spread = (number(float(x.max() / x.min())) for x in (curvature, losses))
        sentences.append(
            f"Quadratic, {LABELS[method]}: the effective sharpness ends between "
            f"{number(float(sharp.min()))} and {number(float(sharp.max()))} in every coordinate, "
            f"where curvatures differ by {apart}; the losses of the coordinates differ by {spread}."
        )
    improved = ", ".join(f"{LABELS[m]} {number(x)}" for m, x in found.improvement.items())
    largest, time = found.results.sharpness.max("time"), found.results.step_seconds
    missed = [label for name, label in LABELS.items() if largest.sel({"method": name}) < EDGE]
    ratio = float(time.sel({"method": "if_shampoo"}) / time.sel({"method": "adamw"}))
    within = "within" if ratio <= AIM_TIME else "not within"
    return [
        *sentences,
        f"The rod flow is closer to the iterates than the stable flow by the factors {improved}; "
        f"below the edge stay {', '.join(missed) or 'none'}.",
        f"A step of IF-Shampoo takes {number(ratio)} times as long as one of AdamW "
        f"({within} {AIM_TIME:g}).",
    ]
