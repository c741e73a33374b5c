"""The figure of the README: the edge of stability and the rod on a loss of two variables.

The loss is a valley whose walls get steeper along it,

    L(w) = (1 + w1^2) w0^2 / 2 + (w1 - 4)^2 / 200

Across the valley its curvature is 1 + w1^2, and gradient descent is stable up to 2 / lr. The figure
is the same every time it is drawn.
"""

from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import rodflow
from experiments.analysis.style import EDGE, STYLE, rendered, style
from experiments.problems.models.toy import valley

LEARNING_RATE = 0.4  # the edge is at 1 + w1^2 = 5, so at w1 = 2
START = (0.06, 1.95)
STEPS = 100
LARGE: dict[Any, Any] = {"font.size": 9, "axes.titlesize": 10}
DRAWN = 41  # the steps whose iterates and rods are drawn in the plane: the first burst
Look = dict[str, Any]
POINT: Look = {
    "color": "#000000",
    "marker": "o",
    "linestyle": "",
    "markersize": 3,
    "zorder": 4,
}
ROD: Look = {"color": style("rod").color, "linewidth": 1.6}
CENTER: Look = ROD | {"linewidth": 2.4, "zorder": 5}
STABLE: Look = {
    "color": style("stable").color,
    "linestyle": (0, (4, 1.5)),
    "linewidth": 2,
}


class Run(NamedTuple):
    """Parameters at every step, an array (steps, 2) each: iterates, stable flow, rod."""

    iterates: np.ndarray
    stable: np.ndarray
    center: np.ndarray
    extent: np.ndarray


def png() -> bytes:
    """Draw the figure as a PNG of 1600 pixels in width."""
    return rendered(figure(run()), "png")


def run() -> Run:
    """Run gradient descent and both flows from the same point."""
    iteration = rodflow.Iteration(valley, optax.sgd(LEARNING_RATE))
    start = iteration.init(jnp.array(START))
    _, iterates = jax.lax.scan(lambda z, _: (iteration.step(z), z.params), start, length=STEPS + 1)

    def solved(flow: rodflow.AbstractFlow) -> Any:
        integrator = flow.integrator
        solution = diffrax.diffeqsolve(
            flow.term(iteration),
            integrator.solver,
            t0=0.0,
            t1=float(STEPS),
            dt0=integrator.dt0,
            y0=flow.init(iteration, start),
            stepsize_controller=integrator.stepsize_controller,
            saveat=diffrax.SaveAt(ts=jnp.arange(STEPS + 1.0)),
        )
        return solution.ys

    rod = solved(rodflow.RodFlow())
    stable = solved(rodflow.StableFlow()).params
    return Run(*map(np.asarray, (iterates, stable, rod.c.params, rod.x.params)))


def figure(drawn: Run) -> Figure:
    """Draw the plane of the parameters, and the sharpness over the steps."""
    with mpl.rc_context(STYLE | LARGE):
        made = Figure(figsize=(8, 3.3), layout="constrained")
        plane, sharpness = made.subplots(1, 2, width_ratios=(1.25, 1))
        _draw_plane(plane, drawn)
        _draw_sharpness(sharpness, drawn)
    return made


def _draw_plane(axes: Axes, drawn: Run) -> None:
    (left, right), height = (1.84, 2.34), 0.29
    along, across = np.meshgrid(np.linspace(left, right, 80), np.linspace(-height, height, 81))
    heights = np.asarray(jax.vmap(jax.vmap(valley))(jnp.stack([across, along], axis=-1)))
    axes.contourf(along, across, heights, levels=12, cmap="Greys", vmin=-0.03, vmax=0.9)
    axes.axvline(2, **EDGE)
    iterates, center, extent = (x[:DRAWN] for x in (drawn.iterates, drawn.center, drawn.extent))
    axes.plot(iterates[:, 1], iterates[:, 0], color="#000000", linewidth=0.4, alpha=0.4)
    ends = np.stack([center + extent, center - extent])
    axes.plot(ends[..., 1], ends[..., 0], **ROD, alpha=0.75)
    axes.plot(iterates[:, 1], iterates[:, 0], **POINT)
    axes.plot(drawn.stable[:, 1], drawn.stable[:, 0], **STABLE)
    axes.plot(center[:, 1], center[:, 0], **CENTER)
    axes.set(xlim=(left, right), ylim=(-height, height))
    axes.set(xlabel="along the valley, $w_1$", ylabel="across the valley, $w_0$")
    axes.set_title("Beyond the edge the iterates bounce off the walls")
    axes.text(2.005, height, " edge of stability", va="top", color="#5F5F5F")
    arrow = {"arrowstyle": "-", "linewidth": 0.6, "color": "#000000", "shrinkB": 3}
    top = iterates[iterates[:, 0].argmax()]
    axes.annotate("iterates", top[::-1], (2.12, 0.235), arrowprops=arrow)
    far = ends[0, ends[0, :, 1].argmax()]
    text = {"color": ROD["color"], "arrowprops": arrow | {"color": ROD["color"]}}
    axes.annotate("rod: from one iterate\nto the next", far[::-1], (2.13, 0.1), **text)
    axes.text(2.335, 0.015, "stable flow: straight on", color=STABLE["color"], ha="right")


def _draw_sharpness(axes: Axes, drawn: Run) -> None:
    def relative(w: np.ndarray) -> np.ndarray:
        return (1 + w[:, 1] ** 2) * LEARNING_RATE / 2

    axes.axhline(1, **EDGE)
    axes.plot(relative(drawn.iterates), **POINT)
    axes.plot(relative(drawn.stable), **STABLE)
    axes.plot(relative(drawn.center), **CENTER)
    axes.set(xlim=(0, STEPS), ylim=(0.84, 1.6), xlabel="optimizer steps")
    axes.set_ylabel("curvature / (2 / learning rate)")
    axes.set_title("and are held at the edge; so is the rod")
    axes.text(42, 1.26, "stable flow", color=STABLE["color"], ha="right")
    axes.text(STEPS, 1.11, "iterates", ha="right")
    axes.text(STEPS, 1.05, "and rod", ha="right", color=ROD["color"])
    axes.text(67, 0.99, "edge", ha="center", va="top", color="#5F5F5F")
