"""Training of one padded network, and its effective sharpness at the end.

Training is full-batch: rodflow's edge of stability is one of full-batch training, and what is left
to chance is the initial weights alone. A lane is one architecture, learning rate and seed; one that
diverges computes NaN to its end and disturbs no other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from jaxtyping import Array, Float, PyTree

import rodflow
from experiments.problems.data.dataset import Dataset
from experiments.studies.coevolution.contenders import CONTENDERS
from experiments.studies.coevolution.genome import DEPTH, WIDTH, Genome, applied, initialized
from experiments.studies.lanes import Numbers


class Task(NamedTuple):
    """Everything that a lane needs besides its architecture, learning rate and seed."""

    optimizer: str  # a name of `CONTENDERS`
    training: Dataset  # flattened images to train on
    held_out: Dataset  # other images
    measure: Callable[[Array, Array], Array]  # loss between outputs and targets
    steps: int  # of the optimizer
    depth: int = DEPTH  # hidden layers that there is room for
    width: int = WIDTH  # units of a layer that there is room for

    def problem(self, genome: Genome, rate: Array, seed: Array) -> tuple[Callable, PyTree, Any]:
        """Build loss, initial parameters and optimizer."""
        inputs, targets = self.training
        sizes = (inputs.shape[1], targets.shape[1], self.depth, self.width)
        params = initialized(genome, jax.random.key(seed), *sizes)
        tx = CONTENDERS[self.optimizer](rate, params, genome, len(inputs))

        def loss(params):
            return self.measure(applied(params, genome, inputs), targets)

        return loss, params, optax.with_extra_args_support(tx)


class Outcome(NamedTuple):
    """Training losses before and after a training, and the accuracy on the held-out data."""

    initial: Float[Numbers, "*lanes"]
    final: Float[Numbers, "*lanes"]
    accuracy: Float[Numbers, "*lanes"]


def trained(task: Task, genome: Genome, rate: Array, seed: Array) -> Outcome:
    """Train one network."""
    loss, start, tx = task.problem(genome, rate, seed)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params, value=value)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (start, tx.init(start)), length=task.steps)
    inputs, targets = task.held_out
    correct = applied(params, genome, inputs).argmax(axis=1) == targets.argmax(axis=1)
    return Outcome(loss(start), loss(params), jnp.mean(correct))


def effective_sharpness(task: Task, genome: Genome, rate: Array, seed: Array) -> Float[Array, ""]:
    """Train one network, and return its effective sharpness at the end.

    It is not finite if the run diverged, or if the last step woke a weight that never had a
    gradient before: an adaptive optimizer has no scale for its response yet.
    """
    loss, params, tx = task.problem(genome, rate, seed)
    iteration = rodflow.Iteration(loss, tx)

    def step(state, _):
        return iteration.advance(state)[1], None

    state, _ = jax.lax.scan(step, iteration.init(params), length=task.steps)
    # Where there is no gradient there is no curvature either, but a second moment of 0, to which
    # the response would be infinite: the padding, and units that are silent on all samples.
    response = jax.tree.map(
        lambda r, g: jnp.where(g == 0, 0, r),
        rodflow.nyquist_response(iteration, state),
        jax.grad(loss)(state.params),
    )
    return rodflow.sharpness(loss, state.params, metric=response)[0] / 2


def axes(architectures: np.ndarray, rates: np.ndarray, seeds: np.ndarray) -> dict[str, np.ndarray]:
    """Return the axes of lanes: indices of architectures, learning rates and seeds."""
    return {
        "architecture": architectures,
        "rate": np.asarray(rates, np.float32),
        "seed": np.asarray(seeds, np.uint32),
    }


def member(
    function: Callable[[Task, Genome, Array, Array], PyTree], task: Task, genomes: Genome
) -> Callable[[dict[str, Array]], PyTree]:
    """Return a function of one lane, by the names of `axes`."""

    def lane(genomes: Genome, values: dict[str, Array]) -> PyTree:
        genome = jax.tree.map(lambda gene: gene[values["architecture"]], genomes)
        return function(task, genome, values["rate"], values["seed"])

    return Partial(lane, genomes)
