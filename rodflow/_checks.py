"""Validation of arguments, with errors of one sentence."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree


def shown(value: object) -> str:
    """Return how an error shows a value: its representation in one line, cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_callable(name: str, value: object) -> None:
    """Raise a `ValueError` unless a value is None or can be called."""
    if value is not None and not callable(value):
        raise ValueError(f"`{name}` is {shown(value)}; it must be a function.")


def check_number(name: str, value: Any) -> None:
    """Raise a `ValueError` unless a value is a real number, or an array of them for many lanes."""
    try:
        kind = jnp.result_type(value)
        good = jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"`{name}` is {shown(value)}; it must be a real number.")


def check_at_least(name: str, value: jax.typing.ArrayLike, least: int) -> None:
    """Raise a `ValueError` if a value is below `least`; a traced value passes."""
    if not isinstance(value, Tracer) and not np.all(np.asarray(value) >= least):
        raise ValueError(f"`{name}` is {value}; it must be at least {least}.")


def check_below(name: str, value: jax.typing.ArrayLike, bound: int) -> None:
    """Raise a `ValueError` if a value is not below `bound`; a traced value passes."""
    if not isinstance(value, Tracer) and not np.all(np.asarray(value) < bound):
        raise ValueError(f"`{name}` is {value}; it must be below {bound}.")


def check_count(name: str, value: jax.typing.ArrayLike, least: int) -> None:
    """Raise a `ValueError` if a value is no integer or below `least`; a traced integer passes."""
    check_number(name, value)
    if not jnp.issubdtype(jnp.result_type(value), jnp.integer):
        raise ValueError(f"`{name}` is {value}; it must be an integer.")
    check_at_least(name, value, least)


def check_scalar(loss: Callable[[PyTree], PyTree], params: PyTree) -> jnp.dtype:
    """Return the dtype of a loss; raise a `ValueError` if it is not one real float scalar."""
    leaves = jax.tree.leaves(jax.eval_shape(loss, params))
    if (
        len(leaves) != 1
        or leaves[0].shape != ()
        or not jnp.issubdtype(leaves[0].dtype, jnp.floating)
    ):
        found = ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves) or "nothing"
        raise ValueError(f"The loss returned {found}; it must return one real float scalar.")
    return leaves[0].dtype
