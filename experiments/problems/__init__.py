"""Training problems: functions of the parameters, made of a data set, a network and a loss."""

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
from experiments.configuration.config import RunConfig, builder
from experiments.configuration.functions import Loss
from experiments.problems.data.dataset import Dataset
from experiments.problems.models.model import Model


class Problem(NamedTuple):
    """A loss and an initialisation, which both work under `jit` and `vmap`."""

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
    """Make a problem whose `loss(params)` is the loss of a model on a whole data set.

    Args:
        dataset: All samples.
        model: The network.
        loss: The loss of outputs against targets, a mean over samples.
        chunks: The number of equal pieces of the data whose gradients are taken one after the
            other, to hold the activations of one piece in memory at a time; None for no pieces.

    Raises:
        ValueError: The samples cannot be cut into so many equal pieces.
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
    """Return the same problem with all parameters in one vector, in the order of its leaves.

    A program that holds many copies of the parameters, as one that tracks several flows, then
    compiles in a third of the time for a network of 30 leaves. An optimizer must not depend on
    single leaves.
    """
    leaves, structure = jax.tree.flatten(_like(problem))
    ends = np.cumsum([leaf.size for leaf in leaves])

    def unravel(vector: Array) -> PyTree[Array]:
        parts = jnp.split(vector, ends[:-1])
        return structure.unflatten(
            [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        )

    return Problem(
        lambda vector: problem.loss(unravel(vector)), lambda key: ravel_pytree(problem.init(key))[0]
    )


def _like(problem: Problem) -> PyTree[jax.ShapeDtypeStruct]:
    return jax.eval_shape(problem.init, jax.random.key(0))


def compact(problem: Problem, tx: optax.GradientTransformation) -> Problem:
    """Return the problem `raveled`, or as it is if the optimizer depends on shapes of leaves."""
    return raveled(problem) if _ignores_shapes(problem, tx) else problem


def _ignores_shapes(problem: Problem, tx: optax.GradientTransformation) -> bool:
    like = _like(problem)
    draw = np.random.default_rng(0).standard_normal
    points = [jax.tree.map(lambda p: draw(p.shape).astype(p.dtype), like) for _ in range(3)]

    @jax.jit
    def last_update(params: PyTree, *grads: PyTree) -> PyTree:
        state, updates = tx.init(params), params
        for g in grads:
            updates, state = tx.update(g, state, params)
        return ravel_pytree(updates)[0]

    def vector(point: PyTree) -> np.ndarray:
        return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(point)])

    whole, split = last_update(*map(vector, points)), last_update(*points)
    return bool(np.allclose(whole, split, rtol=1e-3, atol=1e-3 * np.max(np.abs(split))))


def configured(config: RunConfig) -> Problem:
    """Build the problem that a configuration describes.

    Raises:
        ValueError: The model, the data and the loss do not fit each other.
    """
    dataset = instantiate(config.data)
    if not isinstance(dataset, Dataset):
        raise ValueError(f"data._target_={builder(config.data)}: it must return a Dataset")
    shapes = {"input_shape": dataset.inputs.shape[1:], "output_shape": dataset.targets.shape[1:]}
    model = instantiate(config.model, **shapes)
    if not isinstance(model, Model):
        raise ValueError(f"model._target_={builder(config.model)}: it must return a Model")
    if (dataset.inputs.size == 1) != (config.loss is Loss.mean_output):
        raise ValueError(
            f"loss={config.loss.name} does not fit the data: model=toy takes data=nothing and "
            "loss=mean_output, all other models data and another loss"
        )
    return problem(dataset, model, config.loss, config.chunks)
