"""Rod flow of epochs: minibatches in a fixed order, by gradient descent at the edge.

A tanh network of 60 parameters is fitted to forty points of sin(3 x). The batches are neighbouring
points (*sorted*), every n-th point (*strided*), or all of the points each time (*alike*). Distances
are means over the run. The least multiplier is the leftmost eigenvalue of the derivative of the
epoch map at any record: where it leaves through -1, the epochs oscillate with period two
(`rodflow.maps.epoch`).
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

import rodflow
from experiments.analysis.table import Table

POINTS, WIDTH, WARMUP, EPOCHS, EVERY = 40, 20, 20, 400, 10
CASES = {
    ("sorted", 4): (0.1, 0.12, 0.13, 0.14, 0.15),
    ("strided", 4): (0.05, 0.08, 0.1),
    ("alike", 2): (0.2, 0.25, 0.3),
    ("alike", 3): (0.2, 0.25, 0.3),
}
FLOWS = {
    "stable": rodflow.StableFlow(),
    "corrected": rodflow.StableFlow(corrected=True),
    "rod": rodflow.RodFlow(),
}


def minibatches(order: str, count: int) -> rodflow.Minibatches:
    """Return the points in `count` batches."""
    x = jnp.linspace(-2, 2, POINTS)
    if order == "alike":
        batches = jnp.stack([x] * count)
    else:
        batches = x.reshape(count, -1) if order == "sorted" else x.reshape(-1, count).T
    return rodflow.Minibatches(_loss, batches)


def initial() -> PyTree[Float[Array, "..."]]:
    """Draw parameters, as in the example of the README."""
    a, c = jax.random.normal(jax.random.key(0), (2, WIDTH))
    return {"a": a[None], "b": jnp.zeros(WIDTH), "c": c[:, None] / 5}


def followed(loss: rodflow.Minibatches, rates: Float[Array, " lanes"]) -> rodflow.Tracking:
    """Track the epochs of gradient descent at several rates, and observe the map's derivative."""

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


def epochs() -> Iterator[Table]:
    """Compare the flows of the epoch map on every case."""
    rows = []
    for (order, count), rates in CASES.items():
        lanes = followed(minibatches(order, count), jnp.array(rates))
        for index, rate in enumerate(rates):
            tracking = jax.tree.map(lambda leaf, i=index: np.asarray(leaf[i]), lanes)
            row = [np.mean(tracking.flows[name].distance) for name in FLOWS]
            row += [np.mean(tracking.floor), np.max(tracking.oscillation)]
            row += [np.max(tracking.flows["rod"].extent)]
            least = least_multiplier(tracking.observed)
            row += [least.real, abs(least.imag)]
            rows.append([f"{count} {order}, lr {rate:g}", *map(float, row)])
    measures = (*FLOWS, "floor", "oscillation", "rod's extent", "least multiplier", "imaginary")
    title = f"Distances to {EPOCHS} epochs of gradient descent, and the floor"
    yield Table(title, ["batches", *measures], rows)


def _loss(params: PyTree, x: Float[Array, " points"]) -> Float[Array, ""]:
    hidden = jnp.tanh(x[:, None] @ params["a"] + params["b"])
    return jnp.mean((hidden @ params["c"] - jnp.sin(3 * x)[:, None]) ** 2)


def least_multiplier(derivatives: Float[np.ndarray, "records size size"]) -> complex:
    """Return the leftmost eigenvalue of some matrices, NaN if the run diverged."""
    if not np.all(np.isfinite(derivatives)):
        return complex("nan")
    values = np.linalg.eigvals(derivatives).ravel()
    return values[np.argmin(values.real)]
