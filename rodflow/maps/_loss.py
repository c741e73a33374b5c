"""Checks of a loss and of its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PyTree

from rodflow._checks import check_scalar, shown
from rodflow.maps.programs import compiled


def check_params(params: PyTree) -> None:
    """Raise a `ValueError` unless all leaves are real floats."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError("`params` has no leaves; it needs at least one float array.")
    for path, leaf in leaves:
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float | complex):
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} is {shown(leaf)}; parameters must be arrays "
                "of real floats (of an Equinox module, those of `equinox.filter(module, "
                "equinox.is_inexact_array)`)."
            )
        leaf = jnp.asarray(leaf)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} has dtype {leaf.dtype}; parameters must be "
                "real floats (close over integers and flags in the loss)."
            )


def check_loss(loss: Callable[..., Any], params: PyTree) -> None:
    """Raise a `ValueError` unless the loss is a finite scalar of the parameters alone."""
    if not callable(loss):
        raise ValueError(f"The loss is {shown(loss)}; it must be a function of the parameters.")
    try:
        inspect.signature(loss).bind(params)
    except TypeError as error:
        raise ValueError(
            f"The loss cannot be called with the parameters alone ({error}); it may not depend on "
            "a batch or a step, because two steps would then not be the same map twice (a fixed "
            "order of batches: `Epoch`)."
        ) from error
    check_scalar(loss, params)
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
        return
    value = compiled(_evaluate, loss, params)
    # A loss that closes over the tracers of an outer transformation stays abstract.
    if not isinstance(value, Tracer) and not np.isfinite(value):
        raise ValueError(f"The loss at the start is {value}; it must be finite.")


def _evaluate(loss: Callable[[PyTree], Array], params: PyTree) -> Array:
    return loss(params)


def hashable(loss: Callable[[PyTree], Array]) -> Callable[[PyTree], Array]:
    """Return a loss that programs can be found by: itself, or a function around it."""
    try:
        hash(tuple(leaf for leaf in jax.tree.leaves(loss) if not eqx.is_array(leaf)))
    except TypeError:
        return lambda params: loss(params)
    return loss
