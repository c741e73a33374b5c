"""Compiled programs, found again by what they are made of, and freed once others took their place.

`jax.jit` keeps a program for as long as the function that it is made of lives, and whatever is
static in a call for good: a loop over learning rates would keep every chain, and a loop over
losses all of their data. So each program is of a function of its own here, and the last few are
kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

# Two to four for each tracker, of up to ten megabytes for a small network.
_KEPT = 32


def compiled(
    function: Callable[..., PyTree], *arguments: PyTree, inline: bool = False
) -> PyTree[jax.Array]:
    """Return the results of a function, by one program for all arguments that differ in arrays.

    Args:
        function: A function whose results are arrays.
        *arguments: Pytrees, of which all that is no array is hashable.
        inline: True where the program is a part of another, which shall hold its operations.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.maps import compiled
        >>> def power(x, exponent):
        ...     return x**exponent
        >>> [float(compiled(power, jnp.array(x), 2)) for x in (2.0, 3.0)]  # one program
        [4.0, 9.0]
    """
    program, arrays = _found(function, arguments, inline)
    return program(arrays)


def lowered(function: Callable[..., PyTree], *arguments: PyTree) -> jax.stages.Lowered:
    """Return the program that `compiled` runs for these arguments, traced but not compiled.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.maps import lowered
        >>> program = lowered(lambda x, exponent: x**exponent, jnp.ones(3), 2)
        >>> program.out_info.shape
        (3,)
    """
    program, arrays = _found(function, arguments, inline=False)
    return program.lower(arrays)


def _found(
    function: Callable[..., PyTree], arguments: tuple[PyTree, ...], inline: bool
) -> tuple[jax.stages.Wrapped, PyTree]:
    """Return the program for what is static in the arguments, and all of their arrays."""
    arrays, static = eqx.partition(arguments, _is_array)
    leaves, structure = jax.tree.flatten(static)
    return program_of(function, inline, structure, tuple(leaves)), arrays


@functools.lru_cache(maxsize=_KEPT)
def program_of(
    function: Callable[..., PyTree], inline: bool, structure: Any, static: tuple[Any, ...]
) -> jax.stages.Wrapped:
    """Return the program of a function for what is static, as a function of all arrays.

    Examples:
        >>> import jax
        >>> from rodflow.maps import program_of
        >>> structure = jax.tree.structure((None,))
        >>> double = program_of(lambda x: 2 * x, False, structure, ())
        >>> float(double((1.5,)))
        3.0
    """

    def program(arrays: PyTree) -> PyTree:
        return function(*eqx.combine(structure.unflatten(static), arrays))

    functools.update_wrapper(program, function, ("__name__",), ())  # the name that JAX shows
    return jax.jit(program, inline=inline)


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, np.ndarray | np.generic)
