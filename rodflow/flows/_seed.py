"""The seed of a rod: the size of the oscillation from which a run at rest starts to oscillate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from rodflow._checks import check_at_least, check_number


def optional_array(value: Any) -> Array | None:
    """Return an array, or None as it is."""
    return None if value is None else number("seed", value)


def number(name: str, value: Any) -> Array:
    """Return a real number as an array; raise a `ValueError` for anything else."""
    check_number(name, value)
    return jnp.asarray(value)


def check_seed(seed: Array | None) -> None:
    """Raise a `ValueError` for a seed that is negative; a traced one passes."""
    if seed is not None:
        check_at_least("seed", seed, 0)


def rounding_seed(params: PyTree) -> float:
    """Return 2^13 rounding units of the coarsest dtype of `params`, at most 1: the drift itself."""
    return min(2.0**13 * max(float(jnp.finfo(x.dtype).eps) for x in jax.tree.leaves(params)), 1.0)
