"""The parity probe: which leaves of an optimizer's state oscillate, and which are smooth.

At the edge of stability the gradient flips its sign every step. What a transformation remembers of
such gradients is found by asking it: run its update for a few steps on (w, g) and again on
(-w, -g), from its initial state and once more with its counters set a million steps on, and compare
the memories. A float leaf that comes out equal is blind to the sign: it is
*auxiliary* (a second moment, smooth in time). Any other float leaf *oscillates* (a first moment, a
trace). An integer leaf that counts steps is a *clock*, and a leaf that never changes is *constant*
(an injected hyperparameter, an unused flag).

The weights are flipped with the gradients so that L2 regularisation, which adds w to g, keeps its
second moments sign-blind, and a copy of the weights counts as oscillating.

Weights and gradients of the probe are made in the shards of the parameters where these are sharded,
and memories are looked at shard by shard: nothing large is gathered.
"""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Shard
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array, PyTree

from rodflow.maps.placement import Placement

# A memo of parities, kept as long as the transformations live, as the same one is often asked for.
# Two of them may share an update and differ in their memory, so both functions are the key.
_KNOWN: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

_SIGNS = (1, -1)
_STEPS = 3
_GOLDEN_RATIO, _SQUARE_ROOT = 2654435769, 1779033703  # fractional parts (of that of 2), times 2^32
_LATE = 10**6  # a much later step: counters that wrap around have, gates and warmups have opened


class Parity(enum.Enum):
    """The behaviour of a leaf of phase space when the sign of the oscillation flips.

    Theory: docs/theory/parity.md.

    - `OSCILLATING`: it flips, such as parameters, first moments and traces.
    - `AUXILIARY`: a float leaf that is blind to the sign, such as second moments.
    - `CLOCK`: an integer leaf that counts steps.
    - `CONSTANT`: a leaf that never changes, such as an injected hyperparameter.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> iteration = rodflow.Iteration(lambda w: w**2, optax.adam(0.1))
        >>> adam = iteration.parity(jnp.array(1.0)).opt_state[0]
        >>> adam.mu.name, adam.nu.name, adam.count.name
        ('OSCILLATING', 'AUXILIARY', 'CLOCK')
    """

    OSCILLATING = "oscillating"
    AUXILIARY = "auxiliary"
    CLOCK = "clock"
    CONSTANT = "constant"


def as_clock(leaf: Array) -> Array:
    """Return an integer or boolean leaf of a state as a float one; a float leaf as it is.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.maps import as_clock
        >>> as_clock(jnp.array(3))
        Array(3., dtype=float32)
    """
    leaf = jnp.asarray(leaf)
    return leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.astype(float)


def probe_parity(
    tx: optax.GradientTransformation,
    params: PyTree[Array],
    updates: int = 1,
    placement: Placement | None = None,
) -> PyTree[Parity]:
    """Return the parity of every leaf of `tx.init(params)`, a pytree of that structure.

    It depends on the structure, shapes and dtypes of `params`, not on their values, and `tx` may
    close over traced hyperparameters. Theory: docs/theory/parity.md.

    Args:
        tx: The transformation.
        params: Parameters, or tracers of them.
        updates: Updates of `tx` in one application of the map.
        placement: The sharding of each leaf of `params`, None where nothing is sharded.

    Raises:
        ValueError: The update needs more than gradients, state and parameters (a line search), or
            the state has a leaf that no smooth flow can carry (a random key, a counter that wraps
            around).

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from rodflow.maps import probe_parity
        >>> probe_parity(optax.sgd(0.1, momentum=0.9), jnp.ones(3))[0].trace
        <Parity.OSCILLATING: 'oscillating'>
    """
    try:
        known = _KNOWN.setdefault(tx.update, weakref.WeakKeyDictionary()).setdefault(tx.init, {})
    except TypeError:  # a callable that cannot be referred to weakly, or hashed
        known = {}
    leaves, structure = jax.tree.flatten(params)
    kind = (structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves), updates)
    if kind not in known:
        known[kind] = _probe(tx, params, updates, placement)
    return known[kind]


def _probe(
    tx: optax.GradientTransformation,
    params: PyTree[Array],
    updates: int,
    placement: Placement | None,
) -> PyTree[Parity]:
    memory = jax.eval_shape(tx.init, params)
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    paths = jax.tree_util.tree_leaves_with_path(memory)
    for path, like in paths:
        if jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key):
            raise ValueError(_not_smooth(path, "is a random key"))

    def remember(g: PyTree, before: PyTree, weights: PyTree) -> PyTree:
        after = tx.update(g, before, weights)[1]
        return jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, before)

    try:
        init = _concrete(jax.make_jaxpr(tx.init)(shapes))
        update = _concrete(jax.make_jaxpr(remember)(shapes, memory, shapes))
    except TypeError as error:
        if "required keyword-only argument" not in str(error):
            raise
        needs = str(error).rpartition("argument")[2].strip(" s:")
        raise ValueError(
            f"The transformation's update asks for {needs}; an optimizer with a flow takes "
            "gradients, state and parameters only (a line search is no map on phase space)."
        ) from error
    likes = jax.tree.leaves(shapes)
    shardings = [None] * len(likes) if placement is None else placement

    def arrays(sign: int, draw: int) -> list[Array | np.ndarray]:
        return [
            _generic(sign, draw * len(likes) + place, like, sharding)
            for place, (like, sharding) in enumerate(zip(likes, shardings, strict=True))
        ]

    seen = [_Seen() for _ in paths]
    firsts = befores = [init(arrays(sign, 0)) for sign in _SIGNS]
    for count in range(_STEPS + 1):
        if count == _STEPS:
            befores = [list(map(_much_later, *pair)) for pair in zip(firsts, befores, strict=True)]
        afters = befores
        for draw in range(1 + count * updates, 1 + (count + 1) * updates):
            afters = [
                update([*arrays(sign, draw), *after, *arrays(sign, 0)])
                for sign, after in zip(_SIGNS, afters, strict=True)
            ]
        seen = list(map(_look, seen, *befores, *afters))
        befores = afters
    found = iter(seen)

    def classify(path: jax.tree_util.KeyPath, like: jax.ShapeDtypeStruct) -> Parity:
        leaf = next(found)
        if leaf.strides == {0}:
            return Parity.CONSTANT
        if jnp.issubdtype(like.dtype, jnp.floating):
            even = leaf.odd_part <= jnp.finfo(like.dtype).eps ** 0.5 * leaf.size
            return Parity.AUXILIARY if even else Parity.OSCILLATING
        if len(leaf.strides) == 1 and 1 <= min(leaf.strides) <= updates:
            return Parity.CLOCK
        raise ValueError(
            _not_smooth(path, "neither counts the steps one by one nor stays as it is")
        )

    return jax.tree_util.tree_map_with_path(classify, memory)


class _Seen(NamedTuple):
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


def _look(
    seen: _Seen,
    before: Array | np.ndarray,
    before_minus: Array | np.ndarray,
    after: Array,
    after_minus: Array,
) -> _Seen:
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
    return _Seen(strides, odd_part, size)


def _part(leaf: Array | np.ndarray, shard: Shard) -> np.ndarray:
    """Return the part of `leaf` where `shard` is, a shard of an array of its shape."""
    for own in getattr(leaf, "addressable_shards", ()):
        if own.index == shard.index:
            return np.asarray(own.data, np.float64)
    return np.asarray(np.asarray(leaf, np.float64)[shard.index])


def _generic(
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


def _much_later(first: Array, last: Array) -> Array | np.ndarray:
    """Return a leaf that has counted as it would stand after many more steps, others as is."""
    if not jnp.issubdtype(last.dtype, jnp.integer):
        return last
    begin, end = np.asarray(first), np.asarray(last)
    return np.asarray(end + np.where(end > begin, _LATE, 0), last.dtype)


def _concrete(traced: ClosedJaxpr) -> Callable[[list[Array | np.ndarray]], list[Array]]:
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


def _not_smooth(path: jax.tree_util.KeyPath, what: str) -> str:
    return (
        f"The leaf {jax.tree_util.keystr(path)} of the optimizer's state {what}; a flow carries "
        "float leaves, counters that advance by one each step, and constants."
    )
