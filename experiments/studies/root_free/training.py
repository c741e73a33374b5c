"""Training on minibatches: configurations and seeds as lanes of one compiled program."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, Key, PyTree

import rodflow
from experiments.problems.data.dataset import Dataset
from experiments.problems.losses import cross_entropy
from experiments.problems.models.model import Model
from experiments.studies import lanes
from experiments.studies.lanes import Numbers
from experiments.studies.root_free.methods import Chain, Hyperparameters


class Split(NamedTuple):
    """Samples to train on, to choose hyperparameters by, and to report on."""

    train: Dataset
    validation: Dataset
    test: Dataset


def split(dataset: Dataset, train: int, validation: int) -> Split:
    """Take the first samples to train on, the next ones for validation, and the rest as test."""
    ends = [0, train, train + validation, len(dataset.inputs)]
    if not 0 < ends[1] < ends[2] < ends[3]:
        raise ValueError(
            f"a training set of {train} and a validation set of {validation} leave no test set "
            f"of {len(dataset.inputs)} samples"
        )
    parts = (slice(*pair) for pair in itertools.pairwise(ends))
    return Split(*(Dataset(dataset.inputs[part], dataset.targets[part]) for part in parts))


class Outcome(NamedTuple):
    """Losses and accuracies at the end of runs."""

    train_loss: Float[Numbers, " runs"]
    validation_loss: Float[Numbers, " runs"]
    validation_accuracy: Float[Numbers, " runs"]
    test_loss: Float[Numbers, " runs"]
    test_accuracy: Float[Numbers, " runs"]


Trainer = Callable[[Hyperparameters, Int[np.ndarray, " runs"]], Outcome]


def batches(
    key: Key[Array, ""], samples: int, batch_size: int, steps: int
) -> Int[Array, "steps batch"]:
    """Draw the samples of every step, without replacement within an epoch.

    Raises:
        ValueError: a batch is larger than the training set.
    """
    per_epoch = samples // batch_size
    if per_epoch == 0:
        raise ValueError(f"batch_size={batch_size}: there are {samples} samples to train on")
    epochs = -(-steps // per_epoch)
    orders = jax.vmap(lambda k: jax.random.permutation(k, samples))(jax.random.split(key, epochs))
    used = orders[:, : per_epoch * batch_size]
    return used.reshape(epochs * per_epoch, batch_size)[:steps]


def objective(model: Model, params: PyTree, dataset: Dataset) -> Float[Array, ""]:
    """Return the cross entropy; outputs of narrow types are widened first."""
    outputs = model.apply(params, dataset.inputs)
    return cross_entropy(outputs.astype(jnp.float32), dataset.targets)


def trainer(
    data: Split,
    model: Model,
    chain: Chain,
    batch_size: int,
    steps: int,
    dtype: jax.typing.DTypeLike = jnp.float32,
    compensated: bool = True,
) -> Trainer:
    """Return a function that trains one model by one method; the learning rate decays by a cosine.

    Parameters and state of the optimizer are kept in `dtype`, and gradients are computed in it;
    below float32, the losses of the parameters by rounding may be `compensated`. A run that
    diverges has the loss infinity.
    """

    def lane(data: Split, values: dict[str, Array]) -> Outcome:
        h = Hyperparameters(*(values[name] for name in Hyperparameters._fields))
        inputs = data.train.inputs.astype(dtype)
        weights, order = jax.random.split(jax.random.key(values["seed"]))
        params = jax.tree.map(lambda p: p.astype(dtype), model.init(weights))
        schedule = optax.cosine_decay_schedule(h.learning_rate, steps)
        tx = chain(h, schedule, batch_size)
        if compensated and jnp.finfo(dtype).bits < 32:
            tx = optax.chain(tx, rodflow.compensate_rounding())

        def step(carry, indices):
            params, state = carry
            batch = Dataset(inputs[indices], data.train.targets[indices])
            gradient = jax.grad(objective, 1)(model, params, batch)
            updates, new = tx.update(gradient, state, params)
            # The state keeps its types, whatever those of the hyperparameters.
            new = optax.tree.cast_like(new, state)
            return (optax.apply_updates(params, updates), new), None

        drawn = batches(order, len(inputs), batch_size, steps)
        (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), drawn)
        seen = [_evaluated(model, params, part, dtype) for part in data]
        (loss, _), (validation, share), (test, right) = seen
        return Outcome(loss, validation, share, test, right)

    # The data are an argument: constants of this size take the compiler longer than the rest.
    member = Partial(lane, data)

    def train(h: Hyperparameters, seeds: Int[np.ndarray, " runs"]) -> Outcome:
        grid = {name: np.asarray(x, np.float32) for name, x in h._asdict().items()}
        return lanes.run(member, grid | {"seed": seeds}).results

    return train


def _evaluated(model, params, dataset, dtype) -> tuple[Float[Array, ""], Float[Array, ""]]:
    outputs = model.apply(params, dataset.inputs.astype(dtype)).astype(jnp.float32)
    loss = cross_entropy(outputs, dataset.targets)
    right = jnp.argmax(outputs, -1) == jnp.argmax(dataset.targets, -1)
    diverged = ~jnp.isfinite(loss)
    return jnp.where(diverged, jnp.inf, loss), jnp.mean(right & ~diverged)
