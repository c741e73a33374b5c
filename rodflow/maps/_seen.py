"""Observations of a leaf of an optimizer's memory, while the parity probe applies the map to it.

Memories are looked at shard by shard: nothing large is gathered.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Shard
from jaxtyping import Array

_LATE = 10**6  # a much later step: counters that wrap around have, gates and warmups have opened


class Seen(NamedTuple):
    """Observations of one leaf of the two memories.

    Attributes:
        strides: The extreme changes in a step; they matter for counters only, and these change
            alike in all elements.
        odd_part: The largest difference between the two memories.
        size: The largest magnitude in either.
    """

    strides: frozenset[float] = frozenset()
    odd_part: float = 0.0
    size: float = 0.0


def look(
    seen: Seen,
    before: Array | np.ndarray,
    before_minus: Array | np.ndarray,
    after: Array,
    after_minus: Array,
) -> Seen:
    """Add one application of the map, with the signs (+, -), shard by shard."""
    strides, odd_part, size = seen
    ends = before, before_minus, after, after_minus
    for shard in after.addressable_shards:
        begin, begin_minus, plus, minus = (_part(end, shard) for end in ends)
        for step in (plus - begin, minus - begin_minus):
            if step.size:
                strides |= {float(np.min(step)), float(np.max(step))}
        odd_part = max(odd_part, np.max(np.abs(plus - minus), initial=0))
        size = max(size, *(np.max(np.abs(end), initial=0) for end in (plus, minus)))
    return Seen(strides, odd_part, size)


def _part(leaf: Array | np.ndarray, shard: Shard) -> np.ndarray:
    """Return the part of `leaf` where `shard` is, a shard of an array of its shape."""
    for own in getattr(leaf, "addressable_shards", ()):
        if own.index == shard.index:
            return np.asarray(own.data, np.float64)
    return np.asarray(np.asarray(leaf, np.float64)[shard.index])


def much_later(first: Array, last: Array) -> Array | np.ndarray:
    """Return a leaf that has counted as it would stand after many more steps, others as is."""
    if not jnp.issubdtype(last.dtype, jnp.integer):
        return last
    begin, end = np.asarray(first), np.asarray(last)
    return np.asarray(end + np.where(end > begin, _LATE, 0), last.dtype)
