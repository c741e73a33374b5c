"""Upper bounds on the speed of a program: its arithmetic at the fastest rates of the machine.

No program is faster than products of large matrices and `tanh` of long arrays, so that these bound
what batching can bring. A closer estimate times the matrix products of a program by themselves.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jaxtyping import PyTree

from experiments.setup.clock import best_seconds

TURNS = 100  # of a loop over operands that stay in cache
PROGRAMS = (Jaxpr, ClosedJaxpr)


class Arithmetic(NamedTuple):
    """Numbers of operations, or of operations per second."""

    products: float  # additions and multiplications
    functions: float  # tanh, exp and the like

    def times(self, count: int | float) -> "Arithmetic":
        """Return the arithmetic of so many calls."""
        return Arithmetic(count * self.products, count * self.functions)

    def seconds(self, rate: "Arithmetic") -> float:
        """Return the time that this takes at some rates."""
        return self.products / rate.products + self.functions / rate.functions


def arithmetic(function: Callable[..., PyTree], *arguments: PyTree) -> Arithmetic:
    """Count the operations of a call as XLA does, which counts the body of a loop once."""
    analysis = jax.jit(function).lower(*arguments).compile().cost_analysis()
    assert analysis is not None  # some backends do not tell
    return Arithmetic(float(analysis["flops"]), float(analysis.get("transcendentals", 0.0)))


def fastest(
    squares: Sequence[int] = (512, 1024, 2048), lengths: Sequence[int] = (2**18, 2**20)
) -> Arithmetic:
    """Measure the rates of products of large matrices and of tanh, on all cores of a CPU."""
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
    least = count.seconds(rate)
    return (
        f"The gradients of the loop are {count.products / seconds / 1e9:.3g} Gflop/s, products of "
        f"large matrices {rate.products / 1e9:.3g} and a long tanh {rate.functions / 1e9:.3g} "
        f"Gnumbers/s. At these rates the arithmetic alone takes {least:.2g} s: no program of these "
        f"gradients is more than {seconds / least:.1f} times faster here."
    )


def products_alone(function: Callable[..., PyTree], *arguments: PyTree) -> float:
    """Time the matrix products of a call, each by itself in a loop, operands in cache."""
    program = jax.make_jaxpr(function)(*arguments)
    return sum(map(_product_alone, products_of(program)), 0.0)


def products_of(program: Jaxpr | ClosedJaxpr) -> Iterator[JaxprEqn]:
    """Yield every matrix product of a program and of the programs within it, loops once."""
    for equation in getattr(program, "jaxpr", program).eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        parts = jax.tree.leaves(equation.params, is_leaf=lambda x: isinstance(x, PROGRAMS))
        for part in parts:
            if isinstance(part, PROGRAMS):
                yield from products_of(part)


def _product_alone(equation: JaxprEqn) -> float:
    @jax.jit
    def loop(left, right):
        def turn(_, left):
            result = equation.primitive.bind(left, right, **equation.params)
            # Each turn depends on the result of the last one, or XLA would compute one of them.
            return left.at[(0,) * left.ndim].add(1e-30 * result[(0,) * result.ndim])

        return jax.lax.fori_loop(0, TURNS, turn, left)

    shaped: list[Any] = [x.aval for x in equation.invars]
    operands = [jnp.ones(x.shape, x.dtype) for x in shaped]
    return best_seconds({"loop": partial(loop, *operands)})["loop"] / TURNS
