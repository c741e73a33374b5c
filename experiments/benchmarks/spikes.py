"""Foresight of the meters of `rodflow.monitored`: how many steps before a spike do they warn?

Minibatch training of small networks by SGD, SGD with momentum and AdamW, at eight learning rates
each, from well below the edge to where training is lost, after a linear warmup. The lanes of a
network and an optimizer, rates times seeds, are one program. A spike is one of the loss of the
whole training set, so that a hard batch is none (`experiments.analysis.spikes`). Meters see the
batch alone, as they would in a user's loop, and are read at every step, as their last reading then
stands. Their line is 1. The norm of the gradient and the loss of the batch are the rivals that cost
nothing: their line is the one that defines a spike, 1.5 times their own running median.

The networks, rates, lines, horizon and notice were set before any meter was read.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import rodflow
from experiments.analysis import alarms
from experiments.analysis.spikes import SPIKE, running_median
from experiments.analysis.spikes import spikes as begun_in
from experiments.analysis.table import Table
from experiments.benchmarks import Note, foresight
from experiments.benchmarks.foresight import METERS, RIVALS, Run
from experiments.benchmarks.networks import NETWORKS, Network, network
from experiments.setup.clock import timed
from experiments.setup.optimizers import warmed_up

STEPS, WARMUP, BATCH, RATES, SEEDS = 500, 100, 32, 8, 2
EVERY, SHARPNESS_EVERY = 10, 20
OPTIMIZERS: Mapping[str, Callable[[optax.Schedule], optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "adamw": optax.adamw,
}
# The largest rate of each; the others are lower by factors of 1.5.
LARGEST = {
    "mlp": {"sgd": 1.6, "momentum": 0.8, "adamw": 0.2},
    "cnn": {"sgd": 3.0, "momentum": 0.8, "adamw": 0.3},
    "text": {"sgd": 3.0, "momentum": 1.0, "adamw": 0.15},
    "sorting": {"sgd": 1.6, "momentum": 0.3, "adamw": 0.1},
}
SPACING = 1.5
DECAY = 0.9  # of the exponential means


class Curves(NamedTuple):
    """A run, or runs with an axis of lanes; arrays have a last axis of steps, or are of one step.

    Attributes:
        loss: of all samples, before the step.
        batch_loss: of the batch, before the step.
        gradient: norm of the gradient of the batch.
        readings: meter -> its last reading after the step; with `mean_` before its name, the mean.
    """

    loss: Any
    batch_loss: Any
    gradient: Any
    readings: dict[str, Any]


def spikes() -> Iterator[Table | str]:
    """Train with every network and optimizer, and compare warnings with spikes."""
    found = []
    for name, largest in LARGEST.items():
        built = network(NETWORKS[name])
        for optimizer, rate in largest.items():
            rates = rate / SPACING ** np.arange(RATES)[::-1]
            curves, seconds = timed(lambda built=built, o=optimizer, r=rates: followed(built, o, r))
            lanes = [jax.tree.map(lambda x, i=i: x[i], curves) for i in range(RATES * SEEDS)]
            found += [
                judged(name, optimizer, float(rate), lane)
                for rate, lane in zip(np.repeat(rates, SEEDS), lanes, strict=True)
            ]
            count = sum(len(run.spikes) for run in found[-len(lanes) :])
            yield Note(f"{name}, {optimizer}: {count} spikes in {len(lanes)} runs, {seconds:.0f} s")
    yield foresight.counted(found)
    yield foresight.recalls(found)
    yield foresight.precisions(found)
    yield foresight.by_group(found, "network")
    yield foresight.by_group(found, "optimizer")
    yield from foresight.sentences(found)


def followed(
    network: Network,
    optimizer: str,
    rates: Float[np.ndarray, " rates"],
    seeds: int = SEEDS,
    steps: int = STEPS,
    warmup: int = WARMUP,
) -> Curves:
    """Train with meters at all rates from several initial weights; the lanes are (rates seeds)."""

    def tx(rate: Array) -> optax.GradientTransformationExtraArgs:
        chain = OPTIMIZERS[optimizer](warmed_up(rate, float(warmup)))
        return rodflow.monitored(chain, EVERY, sharpness_every=SHARPNESS_EVERY, decay=DECAY)

    def step(rate: Array, params: Array, state: Any, key: Array) -> tuple[Any, Any, Curves]:
        samples = network.batch(key, BATCH)

        def loss(w: Array) -> Array:
            return network.loss(w, samples)

        value, grads = jax.value_and_grad(loss)(params)
        given = {"value": value, "value_fn": loss}
        updates, state = tx(rate).update(grads, state, params, **given)
        names = [prefix + name for name in METERS for prefix in ("", "mean_")]
        readings = {name: getattr(state, name) for name in names}
        seen = Curves(network.whole(params), value, jnp.linalg.norm(grads), readings)
        return optax.apply_updates(params, updates), state, seen

    lanes = jnp.asarray(np.repeat(rates, seeds), jnp.float32)
    keys = jax.vmap(jax.random.key)(jnp.tile(jnp.arange(seeds), len(rates)))
    # The clocks of the meters are shared by all lanes, so that what is not due costs nothing.
    like = jax.eval_shape(lambda w: tx(lanes[0]).init(w), jax.eval_shape(network.init, keys[0]))
    axes: Any = jax.tree.map(lambda _: 0, like)
    fluctuation = axes.fluctuation_state._replace(steps=None)
    axes = axes._replace(monitored_steps=None, fluctuation_state=fluctuation)
    step_all = jax.vmap(step, in_axes=(0, 0, axes, 0), out_axes=(0, axes, 0))

    @jax.jit
    def run(lanes: Array, keys: Array) -> Curves:
        params = jax.vmap(network.init)(keys)
        state = jax.vmap(lambda rate, w: tx(rate).init(w), out_axes=axes)(lanes, params)

        def advance(carry: tuple[Array, Any], t: Array) -> tuple[tuple[Array, Any], Curves]:
            drawn = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
            params, state, seen = step_all(lanes, carry[0], carry[1], drawn)
            return (params, state), seen

        seen = jax.lax.scan(advance, (params, state), jnp.arange(steps))[1]
        return jax.tree.map(lambda x: x.T, seen)

    return jax.device_get(run(lanes, keys))


def judged(network: str, optimizer: str, rate: float, curves: Curves) -> Run:
    """Find the spikes of a run up to where it is lost, and judge each meter and its mean."""
    lost = ~np.isfinite(curves.loss)
    steps = int(np.argmax(lost)) + 1 if lost.any() else len(curves.loss)
    curves = jax.tree.map(lambda x: x[:steps], curves)
    begun = begun_in(curves.loss)
    readings = dict(curves.readings)
    for name in RIVALS:
        values = getattr(curves, name)
        readings[name] = values / (SPIKE * running_median(values))
        readings[f"mean_{name}"] = exponential_mean(readings[name])
    meters = {name: alarms.foresight(values, begun) for name, values in readings.items()}
    return Run(network, optimizer, rate, steps, bool(lost.any()), begun, meters)


def exponential_mean(values: Float[np.ndarray, " steps"]) -> np.ndarray:
    """Return the mean of the values that are numbers, as `rodflow.monitored` takes it."""
    means, mean = np.full(len(values), np.nan), np.nan
    for i, value in enumerate(values):
        if not np.isnan(value):
            mean = value if np.isnan(mean) else DECAY * mean + (1 - DECAY) * value
        means[i] = mean
    return means
