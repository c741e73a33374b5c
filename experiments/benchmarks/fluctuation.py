"""The fluctuation meter against the Hessian: small networks, optimizers and batch sizes.

Batches are drawn independently, with replacement. The Hessian is that of the loss of all samples at
the iterates, by Lanczos iteration in the metric of the chain, at three places of the second half of
training; the meter's reading there is that of its last renewal.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

import rodflow
from experiments.analysis.table import Table
from experiments.benchmarks import Note
from experiments.benchmarks.networks import Network, network

SAMPLES, STEPS, PLACES = 512, 800, 3
NETWORKS = {"mlp": ["model=mlp", "model.depth=2"], "cnn": ["model=cnn"], "vit": ["model=vit"]}
OPTIMIZERS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "heavy ball": lambda rate: rodflow.heavy_ball(rate, b1=0.9),
    "adam": optax.adam,
    "nesterov": lambda rate: rodflow.nesterov(rate, b1=0.9),
}
RATES = {
    "mlp": {"sgd": 0.2, "heavy ball": 1.0, "adam": 0.004, "nesterov": 1.0},
    "cnn": {"sgd": 0.2, "heavy ball": 1.0, "adam": 0.004},
    "vit": {"sgd": 0.1, "heavy ball": 0.5, "adam": 0.004},
}
BATCHES = (16, 64)
TOLERANCE = 0.15
COLUMNS = ["network, optimizer, batch", "rate", "loss", "Hessian", "meter", "error", "within 15 %"]
FORMATS = dict.fromkeys(COLUMNS[3:5], ".3f") | {"error": ".0%", "within 15 %": ".0%"}


class Found(NamedTuple):
    """The last loss, and readings at the same places of the second half of a run."""

    loss: float
    hessian: Float[np.ndarray, " places"]
    meter: Float[np.ndarray, " places"]

    def row(self) -> list[float]:
        """Return means, the mean error of a reading, and the share of those within 15 %."""
        errors = np.abs(self.meter / self.hessian - 1)
        means = (float(np.mean(x)) for x in (self.hessian, self.meter))
        return [self.loss, *means, float(np.mean(errors)), float(np.mean(errors <= TOLERANCE))]


def independent(key: Key[Array, ""], steps: int, batch: int) -> Int[Array, "steps batch"]:
    """Draw the samples of each batch, all independently."""
    return jax.random.randint(key, (steps, batch), 0, SAMPLES)


def shuffled(key: Key[Array, ""], steps: int, batch: int) -> Int[Array, "steps batch"]:
    """Draw batches without replacement: each epoch takes every sample once."""
    count = -(-steps * batch // SAMPLES)
    orders = [jax.random.permutation(each, SAMPLES) for each in jax.random.split(key, count)]
    return jnp.concatenate(orders)[: steps * batch].reshape(steps, batch)


def compared(
    built: Network, tx: optax.GradientTransformation, batches: Int[Array, "steps batch"]
) -> Found:
    """Train with a fluctuation meter, and look at the Hessian in the second half."""
    watched, params = rodflow.monitored(tx), built.init(jax.random.key(0))

    @jax.jit
    def train(carry: PyTree, batches: Array) -> PyTree:
        def step(carry: PyTree, samples: Array) -> tuple[PyTree, None]:
            params, state = carry
            batch = jax.tree.map(lambda x: x[samples], built.data)
            grads = jax.grad(built.loss)(params, batch)
            updates, state = watched.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, carry, batches)[0]

    @jax.jit
    def look(params: Array, state: PyTree) -> tuple[Array, Array]:
        found = rodflow.effective_sharpness(built.whole, tx, (params, state.inner_state))[0]
        return built.whole(params), found

    steps = len(batches)
    ends = np.linspace(steps // 2, steps, PLACES, dtype=int)
    carry, rows, begin = (params, watched.init(params)), [], 0
    for end in ends:
        for part in np.array_split(np.arange(begin, end), max(1, (end - begin) // (steps // 8))):
            carry = train(carry, batches[part[0] : part[-1] + 1])
        begin = end
        rows.append((*map(float, look(*carry)), float(optax.tree.get(carry[1], "fluctuation"))))
    losses, hessian, meter = np.array(rows).T
    return Found(losses[-1], hessian, meter)


def fluctuation() -> Iterator[Table | Note]:
    """Compare on every network, with every optimizer and batch size; then where it fails."""
    rows = []
    for label, rates in RATES.items():
        built = network([*NETWORKS[label], "data=digits", f"data.size={SAMPLES}"])
        for name, rate in rates.items():
            for batch in BATCHES:
                batches = independent(jax.random.key(1), STEPS, batch)
                found = compared(built, OPTIMIZERS[name](rate), batches)
                rows.append([f"{label}, {name}, {batch}", rate, *found.row()])
                yield Note(f"{rows[-1]}")
    title = "Fluctuation meter and Hessian, means over the second half of training"
    yield Table(title, COLUMNS, rows, FORMATS)
    yield Table(*beyond())


def beyond() -> tuple[str, list[str], list[list], dict[str, str]]:
    """Compare where the meter's assumptions do not hold."""
    built = network([*NETWORKS["mlp"], "data=digits", f"data.size={SAMPLES}"])
    everything = jnp.tile(jnp.arange(SAMPLES), (STEPS, 1))
    cases = {
        "sgd far below the edge, 64": ("sgd", 0.02, independent(jax.random.key(1), STEPS, 64)),
        "sgd, without replacement, 64": ("sgd", 0.2, shuffled(jax.random.key(1), STEPS, 64)),
        "adam, without replacement, 64": ("adam", 0.004, shuffled(jax.random.key(1), STEPS, 64)),
        "adam, full batch": ("adam", 0.004, everything),
    }
    rows = []
    for case, (name, rate, batches) in cases.items():
        found = compared(built, OPTIMIZERS[name](rate), batches)
        rows.append([case, rate, *found.row()])
    title = "Beyond the assumptions of the meter, the mlp"
    return title, [COLUMNS[0], *COLUMNS[1:]], rows, FORMATS
