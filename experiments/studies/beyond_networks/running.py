"""Runs of a method on a problem within a budget of evaluations, and the search of learning rates.

The budget is in passes over the samples: a step that sees B of n samples and takes g gradients and
l losses costs (g + l) B / n. A step that would exceed the budget is not taken.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from experiments.studies.beyond_networks.methods import Method
from experiments.studies.beyond_networks.problems import Problem, Samples, accuracy

Numbers = Array | np.ndarray

LANES = 8
"""Runs of one program."""
RUNGS = np.sqrt(10.0) ** np.arange(-4, 4)  # around 1, two to a decade
BLOCKS = 5  # that a search may look at
SMALLEST_LOSS = 1e-30  # whose logarithm is taken


class Run(NamedTuple):
    """One run or several, at so many records; the first is at the start."""

    passes: Float[Numbers, "*runs records"]
    """Spent so far, evaluations of gradients and losses alike."""
    loss: Float[Numbers, "*runs records"]
    """On all samples, which is not counted."""
    gradients: Int[Numbers, "*runs"]
    losses: Int[Numbers, "*runs"]
    accuracy: Float[Numbers, "*runs"]
    """On the samples held out; NaN if there are none."""


Runner = Callable[[Sequence[float], Sequence[int]], Run]


def runner(problem: Problem, method: Method, batch_size: int, passes: int, records: int) -> Runner:
    """Compile a method on a problem: learning rates and seeds of any number of runs -> runs."""
    samples = len(problem.samples.inputs)
    if not 1 <= batch_size <= samples:
        raise ValueError(f"batch_size={batch_size}: it must be from 1 to {samples} samples")
    share = batch_size / samples
    budget = round(passes / share)
    every = -(-budget // records)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0, None, None))
    def lane(learning_rate, seed, data: Samples, held_out: Samples | None) -> Run:
        weights, order = jax.random.split(jax.random.key(seed))
        tx = method.chain(learning_rate, share)
        params = problem.init(weights)

        def step(carry, t):
            params, state, gradients, losses = carry
            batch = data
            if batch_size < samples:
                # A new order at each epoch; what is left over at its end waits for the next.
                epoch, place = jnp.divmod(t, samples // batch_size)
                shuffled = jax.random.permutation(jax.random.fold_in(order, epoch), samples)
                picks = jax.lax.dynamic_slice(shuffled, (place * batch_size,), (batch_size,))
                batch = Samples(data.inputs[picks], data.targets[picks])
            value, gradient = jax.value_and_grad(problem.loss)(params, batch)
            updates, after = tx.update(
                gradient,
                state,
                params,
                value=value,
                grad=gradient,
                value_fn=lambda p: problem.loss(p, batch),
            )
            spent = (gradients + method.gradients(after), losses + method.losses(after))
            new = (optax.apply_updates(params, updates), after, *spent)
            affordable = sum(spent) <= budget
            return jax.tree.map(lambda a, b: jnp.where(affordable, a, b), new, carry), None

        def record(carry, index):
            carry, _ = jax.lax.scan(step, carry, index * every + jnp.arange(every))
            return carry, seen(carry)

        def seen(carry):
            return share * (carry[2] + carry[3]), problem.loss(carry[0], data)

        start = (params, tx.init(params), jnp.array(method.before), jnp.array(0))
        end, curves = jax.lax.scan(record, start, jnp.arange(records))
        curves = jax.tree.map(lambda a, b: jnp.append(a, b), seen(start), curves)
        right = jnp.nan if held_out is None else accuracy(end[0], held_out)
        return Run(curves[0], curves[1], end[2], end[3], jnp.asarray(right))

    def run(learning_rates: Sequence[float], seeds: Sequence[int]) -> Run:
        runs = len(seeds)
        # The last group is filled up with copies of its last run.
        groups = np.minimum(np.arange(-(-runs // LANES) * LANES), runs - 1).reshape(-1, LANES)
        rates, numbers = np.asarray(learning_rates, np.float32), np.asarray(seeds)
        done = [
            lane(rates[lanes], numbers[lanes], problem.samples, problem.held_out)
            for lanes in groups
        ]
        return Run(*(np.concatenate(parts)[:runs] for parts in zip(*done, strict=True)))

    return run


class Tuned(NamedTuple):
    """A learning rate, whether all around it were worse, and what was looked at."""

    learning_rate: float
    interior: bool
    rates: Float[np.ndarray, " rungs"]
    losses: Float[np.ndarray, " rungs"]


def tune(run: Runner, seeds: Sequence[int], around: float = 1.0) -> Tuned:
    """Find the learning rate of the lowest final loss, in the geometric mean over the seeds.

    The grid of `RUNGS` around `around` is continued while the best is at one of its ends.
    """
    rates, losses = np.array([]), np.array([])
    new = around * RUNGS
    for _ in range(BLOCKS):
        finals = [run(list(new), [seed] * len(new)).loss[:, -1] for seed in seeds]
        logs = np.log(np.maximum(np.nan_to_num(finals, nan=np.inf), SMALLEST_LOSS))
        order = np.argsort(np.append(rates, new))
        losses = np.append(losses, np.exp(np.mean(logs, axis=0)))[order]
        rates = np.append(rates, new)[order]
        best = int(np.argmin(losses))
        if best == 0:
            new = rates[0] * RUNGS / (RUNGS[-1] * np.sqrt(10))
        elif best == len(rates) - 1:
            new = rates[-1] * RUNGS / RUNGS[0] * np.sqrt(10)
        else:
            return Tuned(float(rates[best]), True, rates, losses)
    return Tuned(float(rates[best]), False, rates, losses)
