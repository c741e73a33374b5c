"""Runs of the study of warmup: a network, its gradients drawn in batches, and two readings.

At the step from w[t] both are read off the response r of the update to an alternating gradient
(`rodflow.nyquist_response`), with the second moments and clocks that this very step uses:

    variance  = the median over parameters of Var[r] / E[r]^2, over runs that differ in the batches
                drawn alone: for Adam that of 1 / sqrt(nu_hat)
    sharpness = the top eigenvalue of diag(r)^1/2 H diag(r)^1/2 / 2, H of the whole training set
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key

import rodflow
from experiments.problems.data.dataset import Dataset
from experiments.problems.losses import cross_entropy
from experiments.problems.models.model import Model

EDGES = np.linspace(-12, 2, 57)  # of the bins of log10 |g|; the outer ones are open
KRYLOV_DEPTH = 15  # for one eigenvalue, to a per cent


class Task(NamedTuple):
    """A network with its parameters in one vector, and its training and test data."""

    init: Callable[[Key[Array, ""]], Float[Array, " n"]]
    outputs: Callable[[Float[Array, " n"], Array], Array]
    train: Dataset
    test: Dataset

    def loss(self, params: Float[Array, " n"]) -> Float[Array, ""]:
        """Return the loss on the whole training set."""
        return cross_entropy(self.outputs(params, self.train.inputs), self.train.targets)


class Lane(NamedTuple):
    """Results of the members of a lane, which begin at the same weights.

    Curves are those of the first member, and NaN where nothing was measured.
    """

    loss: Float[Array, " steps"]
    histogram: Float[Array, "steps bins"]
    sharpness: Float[Array, " steps"]
    variance: Float[Array, " steps"]
    train_loss: Float[Array, " members"]
    test_loss: Float[Array, " members"]
    accuracy: Float[Array, " members"]


def task(model: Model, dataset: Dataset, train: int) -> Task:
    """Split a data set: train on the first samples, and test on those of the others that are new.

    Raises:
        ValueError: no sample is new.
    """
    inputs = np.asarray(dataset.inputs).reshape(len(dataset.inputs), -1)
    known = {sample.tobytes() for sample in inputs[:train]}
    new = [i for i in range(train, len(inputs)) if inputs[i].tobytes() not in known]
    if not new:
        raise ValueError(
            f"study.train={train} leaves no sample that is not trained on; the data has "
            f"{len(np.unique(inputs, axis=0))} different ones"
        )
    split = [
        Dataset(dataset.inputs[i], dataset.targets[i]) for i in (np.arange(train), np.array(new))
    ]
    like = jax.eval_shape(model.init, jax.random.key(0))
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like))
    return Task(
        lambda key: ravel_pytree(model.init(key))[0],
        lambda params, inputs: model.apply(unravel(params), inputs),
        *split,
    )


def run(
    task: Task,
    tx: optax.GradientTransformation,
    key: Key[Array, ""],
    wait: Bool[Array, ""],
    measured: Bool[np.ndarray, " steps"],
    members: int,
    batch: int | None,
    most: int,
) -> Lane:
    """Train from the weights of a key, once for each member.

    Args:
        task: network and data.
        tx: the optimizer.
        key: of the weights and the batches.
        wait: True if `most` steps of the second moments alone come before the first.
        measured: True for the steps at which variance and sharpness are measured.
        members: number of runs, each with batches of its own.
        batch: samples drawn for each gradient; None for all of them.
        most: number of steps of the second moments alone.
    """
    params = task.init(jax.random.fold_in(key, 0))
    keys = jax.random.split(jax.random.fold_in(key, 1), members)
    iteration = rodflow.Iteration(task.loss, tx)
    start = iteration.init(params)
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * members), start)

    def gradient(params: Float[Array, " n"], key: Key[Array, ""]) -> Float[Array, " n"]:
        if batch is None:
            return jax.grad(task.loss)(params)
        drawn: Int[Array, " batch"] = jax.random.randint(key, (batch,), 0, len(task.train.inputs))
        inputs, targets = (leaf[drawn] for leaf in task.train)
        return jax.grad(lambda w: cross_entropy(task.outputs(w, inputs), targets))(params)

    def move(states: rodflow.PhaseState, t: Int[Array, ""]):
        grads = jax.vmap(gradient)(states.params, jax.vmap(jax.random.fold_in, (0, None))(keys, t))
        increments = jax.vmap(iteration.respond)(states, grads)
        return jax.tree.map(jnp.add, states, increments), grads

    def measure(states: rodflow.PhaseState) -> tuple[Float[Array, ""], Float[Array, ""]]:
        responses = jax.vmap(lambda z: rodflow.nyquist_response(iteration, z))(states)
        relative = jnp.var(responses, axis=0) / jnp.mean(responses, axis=0) ** 2
        unbiased = members / max(members - 1, 1)
        top = rodflow.sharpness(task.loss, states.params[0], 1, responses[0], KRYLOV_DEPTH)[0]
        return unbiased * jnp.median(relative), top / 2

    def nothing(_: rodflow.PhaseState) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return jnp.full((), jnp.nan), jnp.full((), jnp.nan)

    def advance(states: rodflow.PhaseState, at: tuple[Int[Array, ""], Bool[Array, ""]]):
        t, wanted = at
        after, grads = move(states, t)
        using = states._replace(opt_state=after.opt_state)
        variance, sharpness = (
            jax.lax.cond(wanted, measure, nothing, using) if measured.any() else nothing(using)
        )
        seen = (task.loss(states.params[0]), histogram(grads[0]), sharpness, variance)
        return after, seen

    steps = len(measured)
    if most:
        waited, _ = jax.lax.scan(
            lambda z, t: (move(z, t)[0], None), states, steps + jnp.arange(most)
        )
        states = jax.tree.map(lambda a, b: jnp.where(wait, a, b), waited, states)
    states, seen = jax.lax.scan(advance, states, (jnp.arange(steps), jnp.asarray(measured)))

    def final(params: Float[Array, " n"]):
        outputs = task.outputs(params, task.test.inputs)
        right = jnp.argmax(outputs, -1) == jnp.argmax(task.test.targets, -1)
        return task.loss(params), cross_entropy(outputs, task.test.targets), jnp.mean(right)

    return Lane(*seen, *jax.vmap(final)(states.params))


def histogram(gradient: Float[Array, " n"]) -> Float[Array, " bins"]:
    """Return the share of the elements in each bin of log10 |g|."""
    bins = len(EDGES) - 1
    place = (jnp.log10(jnp.abs(gradient)) - EDGES[0]) / (EDGES[1] - EDGES[0])
    place = jnp.clip(jnp.floor(place), 0, bins - 1).astype(int)
    return jnp.zeros(bins).at[place].add(1 / gradient.size)
