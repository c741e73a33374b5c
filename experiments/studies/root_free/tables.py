"""Tables and findings of the study."""

import numpy as np
import xarray as xr

from experiments.analysis.verdicts import EDGE, number
from experiments.studies.root_free.measures import (
    EXPONENTS,
    HALVES,
    LABELS,
    PARENTS,
    Interval,
    best_rates,
    exponent,
    gap,
    half_ratios,
    improvement,
    mean,
    values,
)
from experiments.studies.study import Table

AIM_HALF = 0.05  # of the final loss, in bfloat16 against float32
AIM_TIME = 5.0  # steps of IF-Shampoo in those of AdamW


def tables(results: xr.Dataset) -> list[Table]:
    """Accuracies, precision, scaling, edge and steps."""
    tested, halves = [], []
    for model in map(str, results.model.values):
        for method, label in LABELS.items():
            name = f"{model}, {label}"
            versus = gap(results, model, method, "sgd").text(100) if method != "sgd" else "-"
            best = int(values(results, "best", model, method))
            tested.append(
                [
                    name,
                    mean(results, "test_accuracy", model, method).text(100),
                    versus,
                    mean(results, "test_loss", model, method).text(digits=3),
                    number(values(results, "train_loss", model, method).mean()),
                    number(values(results, "drawn_learning_rate", model, method)[best]),
                ]
            )
            ratios = half_ratios(results, model, method)
            if not np.isnan(ratios).any():
                accuracies = [
                    mean(results, f"{prefix}test_accuracy", model, method).text(100)
                    for prefix in HALVES
                ]
                halves.append([name, *map(number, ratios), *accuracies])
    scaling = []
    for method, expected in EXPONENTS.items():
        rates, interior = best_rates(results, method)
        texts = [
            number(r) + ("" if inside else " (end)")
            for r, inside in zip(rates, interior, strict=True)
        ]
        scaling.append([LABELS[method], *texts, f"{exponent(results, method):z.2f}", f"{expected}"])
    edges, steps = [], []
    for method, label in LABELS.items():
        one = results.sel({"method": method})
        single = one.single_sharpness
        known = bool(single.notnull().any())
        middle, most = single.quantile([0.5, 0.95]).values if known else (np.nan, np.nan)
        edges.append(
            [
                label,
                number(float(one.edge_rate)),
                number(float(one.sharpness.max()), 3),
                number(improvement(results, method)),
                number(middle),
                number(most),
            ]
        )
        time = one.step_seconds / results.step_seconds.sel({"method": "adamw"})
        seconds, alike = float(one.step_seconds), float(one.alike)
        steps.append([label, f"{1e3 * seconds:.2f}", number(float(time)), f"{alike:.2f}"])
    sizes = [f"B = {size}" for size in results.batch_size.values]
    return [
        Table(
            "Test accuracy (%) and loss of the chosen configurations, 95 % bootstrap intervals",
            ["", "test accuracy", "minus SGD", "test loss", "training loss", "learning rate"],
            tested,
        ),
        Table(
            "The same in bfloat16, parameters and all, with and without compensation for what "
            "rounding takes from them",
            [
                "",
                "training loss over that in float32",
                "not compensated",
                "test accuracy, %",
                "not compensated",
            ],
            halves,
        ),
        Table(
            "Best learning rate against the batch size, at the same number of samples seen",
            ["", *sizes, "exponent", "expected"],
            scaling,
        ),
        Table(
            "At the edge, full batch; of the coordinates: effective sharpness at the end",
            [
                "",
                "learning rate",
                "largest effective sharpness",
                "improvement of the rod flow",
                "median coordinate",
                "95 % of the coordinates",
            ],
            edges,
        ),
        Table(
            "Steps: time on the full batch, and the share of first updates of the median size",
            ["", "ms", "over AdamW", "within 1 %"],
            steps,
        ),
    ]


def findings(results: xr.Dataset) -> list[str]:
    """What the results support, claim by claim."""
    sentences = []
    for model in map(str, results.model.values):
        for method, parent in PARENTS.items():
            gaps = {key: gap(results, model, key, "sgd") for key in (parent, method)}
            difference = gap(results, model, method, parent)
            sentences.append(
                f"{model}: {LABELS[parent]} is {gaps[parent].text(100)} points of test accuracy "
                f"from SGD, {LABELS[method]} {gaps[method].text(100)}; without the root "
                f"{difference.text(100)} {_verdict(difference)}."
            )
    for model in map(str, results.model.values):
        compensated, bare = half_ratios(results, model, "if_shampoo")
        if not np.isnan([compensated, bare]).any():
            within = "within" if abs(compensated - 1) <= AIM_HALF else "not within"
            sentences.append(
                f"{model}: the final loss of IF-Shampoo in bfloat16 is {number(compensated)} times "
                f"that in float32, {within} {100 * AIM_HALF:.0f} %; where what rounding takes from "
                f"the parameters is not compensated, {number(bare)} times."
            )
    slopes = ", ".join(
        f"{LABELS[m]} B^{exponent(results, m):z.2f} (expected {e:g})" for m, e in EXPONENTS.items()
    )
    sentences.append(f"The best learning rate grows like {slopes}.")
    alike = results.alike
    signs = [LABELS[m] for m in LABELS if float(alike.sel({"method": m})) > 0.9]
    sentences.append(
        f"The first step is sign descent (more than 90 % of the coordinates move equally far) for "
        f"{', '.join(signs) or 'none'}."
    )
    late = results.quadratic_sharpness
    for method in EXPONENTS:
        one, losses = late.sel(scaled=method), results.quadratic_loss.sel(scaled=method)
        factors = (float(x.max() / x.min()) for x in (results.curvature, losses))
        apart, spread = map(number, factors)
        sentences.append(
            f"Quadratic, {LABELS[method]}: the effective sharpness ends between "
            f"{number(float(one.min()))} and {number(float(one.max()))} in every coordinate, where "
            f"curvatures differ by {apart}; the losses of the coordinates differ by {spread}."
        )
    improved = ", ".join(f"{LABELS[m]} {number(improvement(results, m))}" for m in LABELS)
    missed = [LABELS[m] for m in LABELS if results.sharpness.sel({"method": m}).max() < EDGE]
    sentences.append(
        f"The rod flow is closer to the iterates than the stable flow by the factors {improved}; "
        f"below the edge stay {', '.join(missed) or 'none'}."
    )
    time = results.step_seconds
    ratio = float(time.sel({"method": "if_shampoo"}) / time.sel({"method": "adamw"}))
    sentences.append(
        f"A step of IF-Shampoo takes {number(ratio)} times as long as one of AdamW "
        f"({'within' if ratio <= AIM_TIME else 'not within'} {AIM_TIME:g})."
    )
    sentences.append(
        "Networks of a few thousand parameters on hundreds of small images, one split: differences "
        "of a point or less, and what happens at the scale of the paper, cannot be seen here."
    )
    return sentences


def _verdict(difference: Interval) -> str:
    if difference.low > 0:
        return "(better: the interval is above 0)"
    if difference.high < 0:
        return "(worse: the interval is below 0)"
    return "(no difference that these seeds can tell)"
