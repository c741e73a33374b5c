"""Rod flow of epochs: minibatches in a fixed order, by gradient descent at the edge.

Forty points of sin(3 x) and a tanh network of 60 parameters. The batches are neighbouring points
(*sorted*), every n-th point (*strided*), or all of the points each time (*alike*). Distances are
means over the run. The least multiplier is the leftmost eigenvalue of the derivative of the epoch
map that any record saw: where it leaves through -1, the epochs oscillate with period two
(`rodflow.maps.epoch`).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree
from rich.console import Console
from rich.table import Table

import rodflow

POINTS, WIDTH, WARMUP, EPOCHS, EVERY = 40, 20, 20, 400, 10
CASES = {
    ("sorted", 4): (0.1, 0.12, 0.13, 0.14, 0.15),
    ("strided", 4): (0.05, 0.08, 0.1),
    ("alike", 2): (0.2, 0.25, 0.3),
    ("alike", 3): (0.2, 0.25, 0.3),
}
FLOWS = {
    "stable": rodflow.StableFlow,
    "corrected": partial(rodflow.StableFlow, corrected=True),
    "rod": rodflow.RodFlow,
}


def minibatches(order: str, count: int) -> rodflow.Minibatches:
    """The points in `count` batches."""
    x = jnp.linspace(-2, 2, POINTS)
    if order == "alike":
        batches = jnp.stack([x] * count)
    else:
        batches = x.reshape(count, -1) if order == "sorted" else x.reshape(-1, count).T
    return rodflow.Minibatches(_loss, batches)


def initial() -> PyTree[Float[Array, "..."]]:
    """Parameters, as in the example of the README."""
    a, c = jax.random.normal(jax.random.key(0), (2, WIDTH))
    return {"a": a[None], "b": jnp.zeros(WIDTH), "c": c[:, None] / 5}


def followed(loss: rodflow.Minibatches, rates: Float[Array, " lanes"]) -> rodflow.Tracking:
    """Track the epochs of gradient descent at several rates; observes the map's derivative."""

    @jax.jit
    @jax.vmap
    def lane(rate: Float[Array, ""]) -> rodflow.Tracking:
        tx = optax.sgd(rate)
        epoch = rodflow.Epoch(loss, tx)

        def derivative(state: rodflow.PhaseState) -> Float[Array, "size size"]:
            flat, tree = ravel_pytree(state.params)
            return jax.jacfwd(
                lambda w: ravel_pytree(epoch.step(state._replace(params=tree(w))).params)[0]
            )(flat)

        return rodflow.track(
            loss, tx, initial(), EPOCHS, WARMUP, EVERY, FLOWS,
            twins=2, observe=derivative, iteration=rodflow.Epoch,
        )  # fmt: skip

    return lane(rates)


def epochs(console: Console) -> None:
    """Print what each flow of the epoch map makes of the runs."""
    table = Table(title=f"distance to {EPOCHS} epochs of gradient descent, and the floor")
    table.add_column("batches")
    for heading in ("rate", *FLOWS, "floor", "oscillation", "rod's extent", "least multiplier"):
        table.add_column(heading, justify="right")
    for (order, count), rates in CASES.items():
        lanes = followed(minibatches(order, count), jnp.array(rates))
        for index, rate in enumerate(rates):
            tracking = jax.tree.map(lambda leaf, i=index: np.asarray(leaf[i]), lanes)
            row = [np.mean(tracking.flows[name].distance) for name in FLOWS]
            row += [np.mean(tracking.floor), np.max(tracking.oscillation)]
            row += [np.max(tracking.flows["rod"].extent), _least_multiplier(tracking.observed)]
            table.add_row(f"{count}, {order}", f"{rate}", *(f"{x:.2g}" for x in row))
    console.print(table)


def _loss(params: PyTree, x: Float[Array, " points"]) -> Float[Array, ""]:
    hidden = jnp.tanh(x[:, None] @ params["a"] + params["b"])
    return jnp.mean((hidden @ params["c"] - jnp.sin(3 * x)[:, None]) ** 2)


def _least_multiplier(derivatives: Float[np.ndarray, "records size size"]) -> complex:
    """NaN where the run diverged."""
    if not np.all(np.isfinite(derivatives)):
        return complex("nan")
    values = np.linalg.eigvals(derivatives).ravel()
    return values[np.argmin(values.real)]
