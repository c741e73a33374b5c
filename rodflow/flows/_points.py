"""Sample points of a rod: the increment of a map at the two ends of each offset from a centre."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from rodflow.maps.iteration import PhaseState


def present(tree: PyTree) -> PyTree[bool]:
    """Return True where `tree` has a leaf, and False where it has None."""
    return jax.tree.map(lambda x: x is not None, tree, is_leaf=lambda x: x is None)


def like(tree: PhaseState, offset: PhaseState) -> PhaseState:
    """Return the leaves of `tree` where `offset` has any, and None elsewhere."""
    return eqx.filter(tree, present(offset))


def sample_points(center: PhaseState, offsets: PhaseState) -> tuple[PhaseState, PhaseState]:
    """Return the oscillating leaves at center +- offsets, stacked, and the remaining leaves."""
    moving, still = eqx.partition(center, present(offsets))
    points = jax.tree.map(lambda c, d: jnp.concatenate([c + d, c - d]), moving, offsets)
    return points, still


def even_and_odd(
    increment: Callable[[PhaseState], PhaseState], center: PhaseState, offsets: PhaseState
) -> tuple[PhaseState, PhaseState]:
    """Return the even and odd parts of `increment` about `center`, along k `offsets`.

    The even part is averaged over the offsets; the odd parts have shape (k, ...), on the leaves
    that oscillate. Costs one batched evaluation at all 2 k points.
    """
    points, still = sample_points(center, offsets)
    values = jax.vmap(lambda point: increment(eqx.combine(point, still)))(points)
    even = jax.tree.map(lambda g: jnp.mean(g, axis=0), values)

    def odd_part(g: Array) -> Array:
        plus, minus = jnp.split(g, 2)
        return (plus - minus) / 2

    return even, jax.tree.map(odd_part, like(values, offsets))
