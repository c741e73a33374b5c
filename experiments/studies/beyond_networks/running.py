"""Runs of a method on a problem within a budget of evaluations, and the search of learning rates.

The budget is in passes over the samples: a step that sees B of n samples and takes g gradients and
l losses costs (g + l) B / n. A step that would exceed the budget is not taken.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from jaxtyping import Float, Int

from experiments.studies import lanes
from experiments.studies.beyond_networks.methods import Method
from experiments.studies.beyond_networks.problems import Problem, Samples, accuracy
from experiments.studies.lanes import Numbers

RUNGS = np.sqrt(10.0) ** np.arange(-4, 4)  # around 1, two to a decade
BLOCKS = 5  # of rungs, at most
SMALLEST_LOSS = 1e-30  # whose logarithm is taken


class Run(NamedTuple):
    """One run or several; the first record is at the start."""

    passes: Float[Numbers, "*runs records"]  # spent so far, on gradients and losses alike
    loss: Float[Numbers, "*runs records"]  # on all samples, the evaluation of which is not counted
    gradients: Int[Numbers, "*runs"]  # evaluations of gradients
    losses: Int[Numbers, "*runs"]  # evaluations of losses
    accuracy: Float[Numbers, "*runs"]  # on the samples held out; NaN if there are none


Runner = Callable[[Sequence[float], Sequence[int]], Run]


def runner(problem: Problem, method: Method, batch_size: int, passes: int, records: int) -> Runner:
    """Return a function that runs a method on a problem from learning rates and seeds."""
    samples = len(problem.samples.inputs)
    if not 1 <= batch_size <= samples:
        raise ValueError(f"batch_size={batch_size}: it must be from 1 to {samples} samples")
    share = batch_size / samples
    budget = round(passes / share)
    every = -(-budget // records)

    def lane(data: Samples, held_out: Samples | None, h: dict) -> Run:
        weights, order = jax.random.split(jax.random.key(h["seed"]))
        tx = optax.with_extra_args_support(method.chain(h["learning_rate"], share))
        params = problem.init(weights)

        def step(carry, t):
            params, state, gradients, losses = carry
            batch = data
            if batch_size < samples:
                # A new order at each epoch; samples that fill no batch at its end are left out.
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

    member = Partial(lane, problem.samples, problem.held_out)

    def run(learning_rates: Sequence[float], seeds: Sequence[int]) -> Run:
        rates = np.asarray(learning_rates, np.float32)
        return lanes.run(member, {"learning_rate": rates, "seed": seeds}).results

    return run


class Tuned(NamedTuple):
    """A learning rate, and all that were tried."""

    learning_rate: float  # the best
    interior: bool  # True if those on both sides were worse
    rates: Float[np.ndarray, " rungs"]  # all that were tried, in ascending order
    losses: Float[np.ndarray, " rungs"]  # the final loss at each


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
