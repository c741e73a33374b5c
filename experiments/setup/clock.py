"""What iterates and flows cost: wall clock per optimizer step, each in a program of its own.

Times are the best of several, of all seeds of a cell together, and of the end of the run, where a
flow has the most to do. They are compared with each other only, as they were taken on one machine
in one hour; a flow's time is what it takes on top of the iterates.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jaxtyping import PyTree

import rodflow

REPEATS = 3
TURNS = 100  # of a loop over an array that is already there
PROGRAMS = (Jaxpr, ClosedJaxpr)


def first_seconds(run: Callable[[], PyTree]) -> float:
    """The time of a first call, compilation included."""
    begin = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begin


def best_seconds(runs: Mapping[str, Callable[[], PyTree]], repeats: int = 5) -> dict[str, float]:
    """The least time of each run, taken in turns; compilation excluded."""
    for run in runs.values():
        jax.block_until_ready(run())
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.perf_counter()
            jax.block_until_ready(run())
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


class Arithmetic(NamedTuple):
    """Numbers of operations, or of as many as are possible in a second."""

    products: float  # additions and multiplications
    functions: float  # tanh, exp and their like

    def times(self, count: int | float) -> "Arithmetic":
        """Return what so many calls take."""
        return Arithmetic(count * self.products, count * self.functions)


def arithmetic(function: Callable[..., PyTree], *arguments: PyTree) -> Arithmetic:
    """What one call takes, as XLA counts it: loops once."""
    analysis = jax.jit(function).lower(*arguments).compile().cost_analysis()
    assert analysis is not None  # some backends do not tell
    return Arithmetic(float(analysis["flops"]), float(analysis.get("transcendentals", 0.0)))


def fastest(
    squares: Sequence[int] = (512, 1024, 2048), lengths: Sequence[int] = (2**18, 2**20)
) -> Arithmetic:
    """The rates of products of large matrices, and of tanh in loops over long arrays.

    On all cores of a CPU. No program is faster, so that this bounds what batching can bring.
    """
    product = jax.jit(jnp.matmul)
    bend = jax.jit(lambda x: jax.lax.fori_loop(0, TURNS, lambda _, x: jnp.tanh(x), x))
    matrices = {size: jnp.ones((size, size)) for size in squares}
    arrays = {length: jnp.linspace(-3, 3, length) for length in lengths}
    runs = {f"{n} square": partial(product, x, x) for n, x in matrices.items()}
    runs |= {f"{n} long": partial(bend, x) for n, x in arrays.items()}
    taken = best_seconds(runs)
    return Arithmetic(
        max(2 * n**3 / taken[f"{n} square"] for n in squares),
        max(TURNS * n / taken[f"{n} long"] for n in lengths),
    )


def bound(count: Arithmetic, seconds: float, rate: Arithmetic) -> str:
    """Say how much faster than `seconds` so much arithmetic could be at most."""
    least = count.products / rate.products + count.functions / rate.functions
    return (
        f"The gradients of the loop are {count.products / seconds / 1e9:.3g} Gflop/s, products of "
        f"large matrices {rate.products / 1e9:.3g} and a long tanh {rate.functions / 1e9:.3g} "
        f"Gnumbers/s. At these rates the arithmetic alone takes {least:.2g} s: no program of these "
        f"gradients is more than {seconds / least:.1f} times faster here."
    )


def products_alone(function: Callable[..., PyTree], *arguments: PyTree) -> float:
    """Seconds of the matrix products of one call, each by itself in a loop, operands in cache."""
    program = jax.make_jaxpr(function)(*arguments)
    return sum(map(_product_alone, _products(program)), 0.0)


def _products(program: Jaxpr | ClosedJaxpr) -> Iterator[JaxprEqn]:
    """Every matrix product of a program, those of its parts included, loops once."""
    for equation in getattr(program, "jaxpr", program).eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        parts = jax.tree.leaves(equation.params, is_leaf=lambda x: isinstance(x, PROGRAMS))
        for part in parts:
            if isinstance(part, PROGRAMS):
                yield from _products(part)


def _product_alone(equation: JaxprEqn) -> float:
    @jax.jit
    def loop(left, right):
        def turn(_, left):
            result = equation.primitive.bind(left, right, **equation.params)
            # It has to depend on the last result, or one turn would do.
            return left.at[(0,) * left.ndim].add(1e-30 * result[(0,) * result.ndim])

        return jax.lax.fori_loop(0, TURNS, turn, left)

    shaped: list[Any] = [x.aval for x in equation.invars]
    operands = [jnp.ones(x.shape, x.dtype) for x in shaped]
    return best_seconds({"loop": partial(loop, *operands)})["loop"] / TURNS


def per_step(
    tracker_of: Callable[[list[str]], rodflow.Tracker],
    state: PyTree,
    records: int,
) -> dict[str, float]:
    """Time `"iterates"` and each flow on top of them, in seconds per optimizer step.

    Args:
        tracker_of: names of flows -> a tracker of these alone, without twins.
        state: a `TrackerState` with an axis of lanes; it is not moved.
        records: how far to run.

    Returns:
        Seconds by name; NaN for a flow that diverged in all lanes.
    """

    def run(names: list[str]) -> Callable[[], PyTree]:
        tracker = tracker_of(names)
        # A new iteration has to be told of what structure its parameters are.
        tracker.iteration.init(jax.tree.map(lambda leaf: leaf[0], state.run.state.params))
        flows = {name: state.flows[name] for name in names}
        part = state._replace(twins=None, flows=flows)
        program = jax.jit(jax.vmap(lambda state: tracker.run(state, records)))
        return lambda: program(part)

    alive = [name for name, flow in state.flows.items() if np.any(flow.diverged_at < 0)]
    taken = best_seconds(
        {"iterates": run([])} | {name: run([name]) for name in alive}, repeats=REPEATS
    )
    steps = records * tracker_of([]).every
    found = {name: (taken[name] - taken["iterates"]) / steps for name in alive}
    lost = dict.fromkeys(set(state.flows) - set(alive), float("nan"))
    return {"iterates": taken["iterates"] / steps} | found | lost
