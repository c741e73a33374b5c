"""Training problems: a data set, a network and a loss make a function of the parameters."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from hydra.utils import instantiate
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

import rodflow
from experiments.configuration.config import RunConfig
from experiments.problems.data.dataset import Dataset
from experiments.problems.models.model import Model


class Problem(NamedTuple):
    """A problem as two pure functions; both work under `jit` and `vmap`."""

    loss: Callable[[PyTree[Float[Array, "..."]]], Float[Array, ""]]
    """Parameters -> loss on the whole data set."""
    init: Callable[[Key[Array, ""]], PyTree[Float[Array, "..."]]]
    """Random key -> initial parameters."""


def problem(
    dataset: Dataset,
    model: Model,
    loss: Callable[[Array, Array], Array],
    chunks: int | None = None,
) -> Problem:
    """Close over a data set: `loss(params)` is the loss of the model on all of it.

    Args:
        dataset: all samples.
        model: the network.
        loss: of outputs against targets, a mean over samples.
        chunks: equal pieces of the data, of which one at a time is in memory with its activations.

    Raises:
        ValueError: the samples cannot be cut into so many equal pieces.
    """

    def batch_loss(params: PyTree[Float[Array, "..."]], batch: Dataset) -> Float[Array, ""]:
        return loss(model.apply(params, batch.inputs), batch.targets)

    if chunks is None:
        return Problem(lambda params: batch_loss(params, dataset), model.init)
    samples = len(dataset.inputs)
    if samples % chunks:
        raise ValueError(f"chunks={chunks} is no divisor of the {samples} samples of the data")
    batches = jax.tree.map(lambda x: x.reshape(chunks, -1, *x.shape[1:]), dataset)
    return Problem(rodflow.Minibatches(batch_loss, batches), model.init)


def raveled(problem: Problem) -> Problem:
    """Return the problem with all its parameters in one vector, in the order of its leaves.

    For programs that hold many copies of the parameters: one that tracks several flows of a network
    with 30 leaves compiles in a third of the time. Nothing may then depend on single leaves.
    """
    like = jax.eval_shape(problem.init, jax.random.key(0))
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like))
    return Problem(
        lambda vector: problem.loss(unravel(vector)), lambda key: ravel_pytree(problem.init(key))[0]
    )


def compact(problem: Problem, tx: optax.GradientTransformation) -> Problem:
    """Return the problem `raveled`, or unchanged for an optimizer that treats a matrix as one."""
    return raveled(problem) if _ignores_shapes(problem, tx) else problem


def _ignores_shapes(problem: Problem, tx: optax.GradientTransformation) -> bool:
    like = jax.eval_shape(problem.init, jax.random.key(0))
    draw = np.random.default_rng(0).standard_normal
    points = [jax.tree.map(lambda p: draw(p.shape).astype(p.dtype), like) for _ in range(3)]

    @jax.jit
    def last_update(params: PyTree, *grads: PyTree) -> PyTree:
        state, updates = tx.init(params), params
        for g in grads:
            updates, state = tx.update(g, state, params)
        return ravel_pytree(updates)[0]

    whole, split = last_update(*(ravel_pytree(x)[0] for x in points)), last_update(*points)
    return bool(np.allclose(whole, split, rtol=1e-3, atol=1e-3 * np.max(np.abs(split))))


def configured(config: RunConfig) -> Problem:
    """Build the problem that a configuration describes."""
    dataset = instantiate(config.data)
    shapes = {"input_shape": dataset.inputs.shape[1:], "output_shape": dataset.targets.shape[1:]}
    model = instantiate(config.model, **shapes)
    return problem(dataset, model, config.loss, config.chunks)
