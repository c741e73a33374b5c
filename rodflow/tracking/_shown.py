"""The records of one run in words, as a figure, and as a labelled data set."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import jax
import numpy as np

from rodflow.solvers import Integrator

# A solver that has used up its steps has taken as many gradients a step, at least. Records do not
# tell how many it had: a flow with another `max_steps` is told to have run away below the default.
_STIFF = Integrator._field_defaults["max_steps"]
_NO_BETTER = 0.9, 1.1


def needed(module: str, method: str) -> ModuleType:
    """Import a module that the library does without otherwise.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"Tracking.{method}() needs {package}, which is not installed; `pip install {package}` "
            "does that."
        ) from error


def summary_of(tracking: Any) -> str:
    """Return what one run and its flows did, in a table and in sentences."""
    _check_one_run(tracking, "summary")
    steps, flows = np.asarray(tracking.steps), tracking.flows
    loss = np.asarray(tracking.mean_loss, float)
    lines = [f"{steps[-1]} steps in {len(steps)} records, loss {loss[0]:.3g} -> {loss[-1]:.3g}."]
    if (at := _stop(tracking)) is not None:
        lines.append(f"The run itself diverged at step {at}; all numbers are NaN from there on.")
    if tracking.floor is not None:
        floor = np.mean(np.asarray(tracking.floor, float))
        lines.append(f"The floor, the mean distance of its twins, is {floor:.3g}.")
    gains = tracking.improvement() if "stable" in flows else {}
    lines += [
        "",
        f"{'flow':<14}{'distance':>10}{'improvement':>13}{'loss error':>12}{'gradients':>11}",
    ]
    for name, flow in flows.items():
        means = [
            float(np.mean(np.asarray(x, float)))
            for x in (flow.distance, flow.loss_error, flow.gradients)
        ]
        gain = f"{float(gains[name]):.3g}" if name in gains else "-"
        lines.append(f"{name:<14}{means[0]:>10.3g}{gain:>13}{means[1]:>12.2g}{means[2]:>11.3g}")
    remarks = [*_stopped(tracking), *_explained(tracking, gains)]
    return "\n".join(lines + [""] * bool(remarks) + remarks)


def _stopped(tracking: Any) -> Iterator[str]:
    for name, flow in tracking.flows.items():
        if (at := _stop(flow)) is None:
            continue
        record = int(np.argmax(np.asarray(flow.diverged_at) >= 0))
        gradients = float(np.asarray(flow.gradients, float)[record])
        if gradients >= _STIFF:
            why = f"it became too stiff for its solver, which took {gradients:.0f} gradients a step"
        else:
            why = "its state ran away or was not finite"
        yield f"The flow {name!r} stopped at step {at}: {why}."


def _explained(tracking: Any, gains: dict[str, Any]) -> Iterator[str]:
    low, high = _NO_BETTER
    for name, gain in gains.items():
        if np.isnan(gain):
            ended = [
                other for other in ("stable", name) if _stop(tracking.flows[other]) is not None
            ]
            of = " and ".join(repr(other) for other in ended)
            of = f"the flow {of}" if len(ended) == 1 else f"the flows {of}"
            of = of if ended else "the run"
            yield (
                f"The improvement of {name!r} is NaN because {of} stopped: a mean distance is over "
                "the whole run."
            )
        elif low < gain < high:
            yield (
                f"The flow {name!r} is no closer than the stable flow: the run may not have "
                "reached the edge of stability, or, in bfloat16, it loses its updates to rounding "
                "(rodflow.compensate_rounding keeps them)."
            )


def _stop(records: Any) -> int | None:
    """Return the step at which a run or a flow stopped, None if it did not."""
    at = int(np.asarray(records.diverged_at)[-1])
    return None if at < 0 else at


def _check_one_run(tracking: Any, method: str) -> None:
    shape = np.shape(tracking.steps)
    if len(shape) != 1 or not shape[0]:
        raise ValueError(
            f"{method}() is of one run with records, and these are of the shape {shape}; take one "
            "lane, as `jax.tree.map(lambda x: x[0], tracking)` does."
        )


def plot_of(tracking: Any) -> Any:
    """Return a figure of the losses and of the distances from the iterates."""
    _check_one_run(tracking, "plot")
    figure = needed("matplotlib.figure", "plot").Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = np.asarray(tracking.steps)
    left.plot(steps, np.asarray(tracking.mean_loss, float), color="black", label="iterates")
    for name, flow in tracking.flows.items():
        left.plot(steps, np.asarray(flow.loss, float), label=name)
        right.plot(steps, np.asarray(flow.distance, float), label=name)
    if tracking.floor is not None:
        right.plot(steps, np.asarray(tracking.floor, float), "--", color="gray", label="floor")
    left.set(xlabel="step", ylabel="loss")
    right.set(xlabel="step", ylabel="distance from the iterates", yscale="log")
    for axes in (left, right):
        if axes.get_lines():
            axes.legend(frameon=False)
    return figure


def dataset_of(tracking: Any) -> Any:
    """Return all records as an `xarray.Dataset`."""
    xarray = needed("xarray", "to_xarray")
    lanes = tuple(f"lane{i}" for i in range(np.ndim(tracking.steps) - 1))
    dims = (*lanes, "step")
    data = {}

    def add(name: str, values: Any, before: tuple[str, ...] = ()) -> None:
        for path, leaf in jax.tree_util.tree_leaves_with_path(values):
            whole = name + jax.tree_util.keystr(path)
            kept = (*before, *dims)
            rest = tuple(f"{whole}_{i}" for i in range(np.ndim(leaf) - len(kept)))
            data[whole] = (kept + rest, np.asarray(leaf))

    for name in ("loss", "mean_loss", "oscillation", "travelled", "floor", "observed"):
        add(name, getattr(tracking, name))
    add("diverged_at", tracking.diverged_at)
    names = {"loss": "flow_loss", "diverged_at": "flow_diverged_at", "observed": "flow_observed"}
    if tracking.flows:
        flows = jax.tree.map(lambda *x: np.stack(x), *tracking.flows.values())
        for name in flows._fields:
            add(str(names.get(name, name)), getattr(flows, name), ("flow",))
    steps = np.asarray(tracking.steps).reshape(-1, np.shape(tracking.steps)[-1])[0]
    return xarray.Dataset(data, coords={"step": steps, "flow": list(tracking.flows)})
