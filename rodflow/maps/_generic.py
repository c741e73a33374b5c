"""Numbers without a pattern, and functions of them that run while an outer function is traced."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array

_GOLDEN_RATIO, _SQUARE_ROOT = 2654435769, 1779033703  # fractional parts (of that of 2), times 2^32


def generic(
    sign: int, draw: int, like: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding | None
) -> Array | np.ndarray:
    """Return numbers in [-1, 1) without a pattern: multiples of the golden ratio (Weyl 1916).

    They are taken modulo 1. Each element follows from its index, so that a sharded array is made
    in its shards.
    """
    strides = np.cumprod([1, *like.shape[:0:-1]])[::-1]

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
        place = np.array(draw * _SQUARE_ROOT % 2**32, np.uint64)
        for where, size, stride in zip(index or (), like.shape, strides, strict=False):
            # Axis by axis, as far as the slice goes.
            place = place[..., None] + np.arange(size, dtype=np.uint64)[where] * np.uint64(stride)
        return np.asarray(sign * (place * _GOLDEN_RATIO % 2**32 / 2**31 - 1), like.dtype)

    if sharding is None:
        return part((slice(None),) * len(like.shape))
    with jax.ensure_compile_time_eval():
        return jax.make_array_from_callback(like.shape, sharding, part)


def concrete(traced: ClosedJaxpr) -> Callable[[list[Array | np.ndarray]], list[Array]]:
    """Compile `traced` to run eagerly, even inside an outer `jit` or `vmap`.

    Hyperparameters of an outer trace were hoisted into the constants; parity does not depend on
    their values, so a generic one stands in for each.
    """
    with jax.ensure_compile_time_eval():
        constants = [
            jnp.full(c.shape, 0.5).astype(c.dtype) if isinstance(c, Tracer) else c
            for c in traced.consts
        ]
    compiled = jax.jit(jaxpr_as_fun(ClosedJaxpr(traced.jaxpr, constants)))

    def run(leaves: list[Array | np.ndarray]) -> list[Array]:
        with jax.ensure_compile_time_eval():
            return compiled(*leaves)

    return run
