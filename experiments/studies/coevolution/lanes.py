"""Many trainings in one program: every lane is one architecture, learning rate and seed.

Training is full-batch: rodflow's edge of stability is one of full-batch training, and what is left
to chance is the initial weights alone. All lanes of an optimizer run one compiled program, some at
a time (few enough for the caches of a processor), and are spread over the devices if there are
several. A lane that diverges computes NaN to its end and disturbs no other.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, PyTree

import rodflow
from experiments.problems.data.dataset import Dataset
from experiments.studies.coevolution.contenders import CONTENDERS
from experiments.studies.coevolution.genome import DEPTH, WIDTH, Genome, Many, applied, initialized


class Split(NamedTuple):
    """Images to train on and others, flattened."""

    training: Dataset
    held_out: Dataset


class Task(NamedTuple):
    """What a lane does, but for its architecture, learning rate and seed.

    Attributes:
        optimizer: a name of `CONTENDERS`.
        split: the data.
        measure: loss between outputs and targets.
        steps: of the optimizer.
        depth: hidden layers that there is room for.
        width: units of a layer that there is room for.
    """

    optimizer: str
    split: Split
    measure: Callable[[Array, Array], Array]
    steps: int
    depth: int = DEPTH
    width: int = WIDTH

    def problem(self, genome: Genome, rate: Array, seed: Array) -> tuple[Callable, PyTree, Any]:
        """Build loss, initial parameters and optimizer."""
        inputs, targets = self.split.training
        sizes = (inputs.shape[1], targets.shape[1], self.depth, self.width)
        params = initialized(genome, jax.random.key(seed), *sizes)
        tx = CONTENDERS[self.optimizer](rate, params, genome, len(inputs))

        def loss(params):
            return self.measure(applied(params, genome, inputs), targets)

        return loss, params, optax.with_extra_args_support(tx)


class Outcome(NamedTuple):
    """What is left of a training: losses on the training data, accuracy on the held-out data."""

    initial: Float[Many, "*lanes"]
    final: Float[Many, "*lanes"]
    accuracy: Float[Many, "*lanes"]


def trained(task: Task, genome: Genome, rate: Array, seed: Array) -> Outcome:
    """Train one network."""
    loss, start, tx = task.problem(genome, rate, seed)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params, value=value)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (start, tx.init(start)), length=task.steps)
    inputs, targets = task.split.held_out
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


class Program:
    """A function of one lane, compiled for many at a time, on some devices or all.

    Attributes:
        compile_seconds: what tracing and compiling took.
        run_seconds: what running took, of all calls together.
        runs: how many lanes were asked for in all calls.
    """

    def __init__(
        self,
        function: Callable[[Genome, Array, Array], PyTree],
        lanes: int,
        devices: Sequence[Any] | None = None,
    ):
        devices = devices or jax.devices()
        mesh = jax.make_mesh(
            (len(devices),), ("lane",), axis_types=(AxisType.Auto,), devices=devices
        )
        self._sharding = NamedSharding(mesh, P("lane"))
        self._lanes = -(-lanes // len(devices)) * len(devices)
        self._mapped = jax.jit(
            jax.shard_map(
                jax.vmap(function),
                mesh=mesh,
                in_specs=P("lane"),
                out_specs=P("lane"),
                check_vma=False,
            )
        )
        self._compiled: Callable | None = None
        self.compile_seconds = self.run_seconds = 0.0
        self.runs = 0

    def __call__(
        self,
        genomes: Genome,
        rates: Float[np.ndarray, " lanes"],
        seeds: Int[np.ndarray, " lanes"],
    ) -> PyTree[np.ndarray]:
        """Run so many lanes, some at a time.

        Args:
            genomes: of all lanes.
            rates: number to tune of each lane.
            seeds: of the initial weights of each lane.

        Returns:
            The function's results, stacked.
        """
        count = len(rates)
        # The last turn is filled up with its last lane.
        places = np.minimum(np.arange(-(-count // self._lanes) * self._lanes), count - 1)
        lanes = (genomes, np.asarray(rates, np.float32), np.asarray(seeds, np.uint32))
        results = []
        for turn in places.reshape(-1, self._lanes):
            taken = jax.tree.map(lambda x, turn=turn: np.asarray(x)[turn], lanes)
            arguments = jax.device_put(taken, self._sharding)
            if self._compiled is None:
                begin = time.perf_counter()
                self._compiled = self._mapped.lower(*arguments).compile()
                self.compile_seconds = time.perf_counter() - begin
            begin = time.perf_counter()
            results.append(jax.device_get(self._compiled(*arguments)))
            self.run_seconds += time.perf_counter() - begin
        self.runs += count
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *results)
