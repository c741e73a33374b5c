"""Functions of arrays with their norms held as they are at a point.

A trust ratio and the clipping of a gradient multiply it by a number that norms of whole arrays
decide. An oscillation at a right angle to what such a norm is of leaves it as it is, to first
order, so that a linear response has to hold these numbers at their present values. They are found
in the program of the function: sums over elements, among them inner products, that are the same at
a point and at its mirror image. A sum that changes its sign there is linear, as a mean is, and is
left to respond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from jaxtyping import PyTree

_Visit = Callable[[list[Any]], list[Any]]


def with_norms_held(
    function: Callable[..., PyTree], at: tuple[PyTree, ...], mirrored: tuple[PyTree, ...]
) -> Callable[..., PyTree]:
    """Return `function` with all norms in it as they are at `at`.

    Args:
        function: A function of pytrees of arrays.
        at: Its arguments at the point.
        mirrored: Those at the mirror image.
    """
    # JAX compares functions, and methods of modules that hold tracers cannot be compared.
    program, shape = jax.make_jaxpr(lambda *x: function(*x), return_shape=True)(*at)
    if not any(_are_sums(program.jaxpr)):
        return function
    plus, minus = _sums(program, at), _sums(program, mirrored)

    def held(*arguments: PyTree) -> PyTree:
        there = zip(plus, minus, strict=True)

        def hold(values: list[Any]) -> list[Any]:
            return [
                jnp.where(a == b, a, value)
                for value, a, b in zip(values, *next(there), strict=True)
            ]

        values = _evaluate(program.jaxpr, program.consts, jax.tree.leaves(arguments), hold)
        return jax.tree.unflatten(jax.tree.structure(shape), values)

    return held


def _called(equation: JaxprEqn) -> ClosedJaxpr | None:
    """Return the program that an equation calls as a part of its own."""
    return equation.params["jaxpr"] if equation.primitive.name in ("jit", "pjit") else None


def _branches(equation: JaxprEqn) -> tuple[ClosedJaxpr, ...]:
    """Return the programs between which an equation chooses."""
    return equation.params["branches"] if equation.primitive.name == "cond" else ()


def _is_sum(equation: JaxprEqn) -> bool:
    name = equation.primitive.name
    if name == "dot_general":  # of matrices it is linear; to a number it is an inner product
        return getattr(equation.outvars[0].aval, "shape", None) == ()
    return name.startswith("reduce_") and name != "reduce_precision"


def _are_sums(jaxpr: Jaxpr) -> Iterator[bool]:
    for equation in jaxpr.eqns:
        inner = _called(equation)
        inside = _branches(equation) if inner is None else (inner,)
        yield _is_sum(equation) or any(any(_are_sums(each.jaxpr)) for each in inside)


def _sums(program: ClosedJaxpr, arguments: PyTree) -> list[list[Any]]:
    """Return the values of all sums, in the order in which they are evaluated."""
    found: list[list[Any]] = []

    def look(values: list[Any]) -> list[Any]:
        found.append(values)
        return values

    _evaluate(program.jaxpr, program.consts, jax.tree.leaves(arguments), look)
    return found


def _evaluate(jaxpr: Jaxpr, constants: list[Any], arguments: list[Any], visit: _Visit) -> list[Any]:
    """Evaluate a program, with the values of sums replaced by what `visit` makes of them."""
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, constants, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        inner = _called(equation)
        if inner is not None:
            outputs = _evaluate(inner.jaxpr, inner.consts, inputs, visit)
        elif any(any(_are_sums(branch.jaxpr)) for branch in _branches(equation)):
            # All branches, as the order of the sums may not depend on the choice.
            place, *inputs = inputs
            each = [_evaluate(b.jaxpr, b.consts, inputs, visit) for b in _branches(equation)]
            outputs = [jnp.stack(values)[place] for values in zip(*each, strict=True)]
        else:
            parameters = equation.primitive.get_bind_params(equation.params)
            outputs = equation.primitive.bind(*inputs, **parameters)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
            outputs = visit(outputs) if _is_sum(equation) else outputs
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]
