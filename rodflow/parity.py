"""The parity probe: which leaves of an optimizer's state oscillate, and which are smooth.

At the edge of stability the gradient flips its sign every step. What a transformation remembers of
such gradients is found by asking it: run its update for a few steps on (w, g) and again on
(-w, -g), from its initial state and once more with its counters set a million steps on, and compare
the memories (MATH.md section 6). A float leaf that comes out equal is blind to the sign: it is
*auxiliary* (a second moment, smooth in time). Any other float leaf *oscillates* (a first moment, a
trace). An integer leaf that counts steps is a *clock*, and a leaf that never changes is *constant*
(an injected hyperparameter, an unused flag).

The weights are flipped with the gradients so that L2 regularisation, which adds w to g, keeps its
second moments sign-blind, and a copy of the weights counts as oscillating.

The probe is one program. Its weights and gradients are made where the parameters are, sharded as
they are, and only a few numbers of each leaf leave the device.
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
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array, Float, PyTree

from rodflow.placement import Placement, place

# What was found, for as long as the transformations live: the same one is often asked again.
# Two of them may share an update and differ in their memory, so both functions are the key.
_KNOWN: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

_SIGNS = (1, -1)
_STEPS = 3
_GOLDEN_RATIO, _SQUARE_ROOT = 2654435769, 1779033703  # fractional parts (of that of 2), times 2^32
_LATE = 10**6  # a much later step: counters that wrap around have, gates and warmups have opened


class Parity(enum.Enum):
    """How a leaf of phase space behaves when the sign of the oscillation flips."""

    OSCILLATING = "oscillating"
    AUXILIARY = "auxiliary"
    CLOCK = "clock"
    CONSTANT = "constant"


def as_clock(leaf: Array) -> Array:
    """An integer or boolean leaf of a state as a float one; a float leaf as it is."""
    leaf = jnp.asarray(leaf)
    return leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.astype(float)


def probe_parity(
    tx: optax.GradientTransformation,
    params: PyTree[Array],
    updates: int = 1,
    placement: Placement | None = None,
) -> PyTree[Parity]:
    """The parity of every leaf of `tx.init(params)`, a pytree of that structure.

    It depends on the structure, shapes and dtypes of `params`, not on their values, and `tx` may
    close over traced hyperparameters. The map whose parity it is consists of `updates` updates.

    **Raises** `ValueError` for a transformation whose update needs more than gradients, state and
    parameters (a line search), or remembers what no smooth flow can carry (a random key, a counter
    that wraps around).
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


class _Seen(NamedTuple):
    """What was seen of one leaf of the two memories, over the steps.

    Whether it stayed as it was, the least and the largest change of an element (of integers), the
    largest difference between the two memories and the largest magnitude in them.
    """

    constant: np.ndarray
    least: np.ndarray
    most: np.ndarray
    odd_part: np.ndarray
    size: np.ndarray


def _probe(
    tx: optax.GradientTransformation,
    params: PyTree[Array],
    updates: int,
    placement: Placement | None,
) -> PyTree[Parity]:
    memory = jax.eval_shape(tx.init, params)
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    for path, like in jax.tree_util.tree_leaves_with_path(memory):
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

    def arrays(sign: Array, draw: int | Array) -> list[Array]:
        values = [
            (sign * _generic(draw * len(likes) + i, p.shape)).astype(p.dtype)
            for i, p in enumerate(likes)
        ]
        return values if placement is None else place(values, placement)

    @jax.jit
    def observe() -> list[tuple[Array, ...]]:
        signs = jnp.array(_SIGNS, jnp.float32)
        first = jax.vmap(lambda sign: init(*arrays(sign, 0)))(signs)

        def step(before: list[Array], count: Array) -> tuple[list[Array], list]:
            later = [_much_later(*pair) for pair in zip(first, before, strict=True)]
            before = [jnp.where(count == _STEPS, *z) for z in zip(later, before, strict=True)]

            def apply(sign: Array, memory: list[Array]) -> list[Array]:
                def once(k: Array, memory: list[Array]) -> list[Array]:
                    grads = arrays(sign, 1 + count * updates + k)
                    return update(*grads, *memory, *arrays(sign, 0))

                return jax.lax.fori_loop(0, updates, once, memory)

            after = jax.vmap(apply)(signs, before)
            return after, [_look(*ends) for ends in zip(before, after, strict=True)]

        return jax.lax.scan(step, first, jnp.arange(_STEPS + 1))[1]

    with jax.ensure_compile_time_eval():
        seen = iter([_Seen(*map(np.asarray, leaf)) for leaf in observe()])

    def classify(path: jax.tree_util.KeyPath, like: jax.ShapeDtypeStruct) -> Parity:
        leaf = next(seen)
        if np.all(leaf.constant):
            return Parity.CONSTANT
        if jnp.issubdtype(like.dtype, jnp.floating):
            even = np.max(leaf.odd_part) <= jnp.finfo(like.dtype).eps ** 0.5 * np.max(leaf.size)
            return Parity.AUXILIARY if even else Parity.OSCILLATING
        stride = leaf.least[0]
        if 1 <= stride <= updates and np.all(leaf.least == stride) and np.all(leaf.most == stride):
            return Parity.CLOCK
        raise ValueError(
            _not_smooth(path, "neither counts the steps one by one nor stays as it is")
        )

    return jax.tree_util.tree_map_with_path(classify, memory)


def _generic(draw: int | Array, shape: tuple[int, ...]) -> Float[Array, ...]:
    """Numbers in [-1, 1) without a pattern: multiples of the golden ratio, modulo 1 (Weyl 1916).

    Each element follows from its index, so that a sharded array is made in its shards.
    """
    index = jnp.asarray(draw, jnp.uint32) * jnp.uint32(_SQUARE_ROOT)
    for axis, stride in enumerate(np.cumprod([1, *shape[:0:-1]])[::-1] if shape else []):
        place = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        index = index + place * jnp.uint32(int(stride) % 2**32)
    return (index * jnp.uint32(_GOLDEN_RATIO)).astype(jnp.float32) / 2.0**31 - 1


def _look(before: Array, after: Array) -> tuple[Array, ...]:
    """What is seen of a leaf in one step; both memories are stacked."""
    numbers = after.astype(jnp.promote_types(after.dtype, jnp.float32))
    odd_part = jnp.abs(numbers[0] - numbers[1])
    change = jnp.zeros_like(numbers)
    if not jnp.issubdtype(after.dtype, jnp.floating):
        change = after.astype(int) - before.astype(int)
    return (
        jnp.all(before == after),
        jnp.min(change, initial=_LATE),
        jnp.max(change, initial=-_LATE),
        jnp.max(odd_part, initial=0, where=~jnp.isnan(odd_part)),
        jnp.max(jnp.abs(numbers), initial=0, where=~jnp.isnan(numbers)),
    )


def _much_later(first: Array, last: Array) -> Array:
    """A leaf that has counted, as it would stand after many more steps; any other as it is."""
    if not jnp.issubdtype(last.dtype, jnp.integer):
        return last
    return last + jnp.where(last > first, _LATE, 0).astype(last.dtype)


def _concrete(traced: ClosedJaxpr) -> Callable[..., list[Array]]:
    """`traced` as a function that can run now, though an outer `jit` or `vmap` may be tracing.

    Hyperparameters of an outer trace were hoisted into the constants; parity does not depend on
    their values, so a generic one stands in for each.
    """
    with jax.ensure_compile_time_eval():
        constants = [
            jnp.full(c.shape, 0.5).astype(c.dtype) if isinstance(c, Tracer) else c
            for c in traced.consts
        ]
    return jaxpr_as_fun(ClosedJaxpr(traced.jaxpr, constants))


def _not_smooth(path: jax.tree_util.KeyPath, what: str) -> str:
    return (
        f"The leaf {jax.tree_util.keystr(path)} of the optimizer's state {what}; a flow carries "
        "float leaves, counters that advance by one each step, and constants."
    )
