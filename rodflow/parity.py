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
"""

from __future__ import annotations

import enum
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array, PyTree

# What was found, for as long as the transformations live: the same one is often asked again.
# Two of them may share an update and differ in their memory, so both functions are the key.
_KNOWN: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

_SIGNS = (1, -1)
_STEPS = 3
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


def probe_parity(tx: optax.GradientTransformation, params: PyTree[Array]) -> PyTree[Parity]:
    """The parity of every leaf of `tx.init(params)`, a pytree of that structure.

    It depends on the structure, shapes and dtypes of `params`, not on their values, and `tx` may
    close over traced hyperparameters.

    **Raises** `ValueError` for a transformation whose update needs more than gradients, state and
    parameters (a line search), or remembers what no smooth flow can carry (a random key, a counter
    that wraps around).
    """
    try:
        known = _KNOWN.setdefault(tx.update, weakref.WeakKeyDictionary()).setdefault(tx.init, {})
    except TypeError:  # a callable that cannot be referred to weakly, or hashed
        known = {}
    leaves, structure = jax.tree.flatten(params)
    kind = (structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
    if kind not in known:
        known[kind] = _probe(tx, params)
    return known[kind]


def _probe(tx: optax.GradientTransformation, params: PyTree[Array]) -> PyTree[Parity]:
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
    draw = np.random.default_rng(0).standard_normal
    weights, *grads = ([draw(p.shape) for p in likes] for _ in range(_STEPS + 2))

    def arrays(sign: int, values: list[np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(sign * v, p.dtype) for v, p in zip(values, likes, strict=True)]

    leaves = [_Leaf() for _ in paths]
    firsts = befores = [init(arrays(sign, weights)) for sign in _SIGNS]
    for count, g in enumerate(grads):
        if count == _STEPS:
            befores = [list(map(_much_later, *pair)) for pair in zip(firsts, befores, strict=True)]
        afters = [
            update([*arrays(sign, g), *before, *arrays(sign, weights)])
            for sign, before in zip(_SIGNS, befores, strict=True)
        ]
        for leaf, *ends in zip(leaves, *befores, *afters, strict=True):
            leaf.look(*ends)
        befores = afters
    observed = iter(leaves)

    def classify(path: jax.tree_util.KeyPath, like: jax.ShapeDtypeStruct) -> Parity:
        leaf = next(observed)
        if leaf.constant:
            return Parity.CONSTANT
        if jnp.issubdtype(like.dtype, jnp.floating):
            even = leaf.odd_part <= jnp.finfo(like.dtype).eps ** 0.5 * leaf.size
            return Parity.AUXILIARY if even else Parity.OSCILLATING
        if leaf.counts:
            return Parity.CLOCK
        raise ValueError(
            _not_smooth(path, "neither counts the steps one by one nor stays as it is")
        )

    return jax.tree_util.tree_map_with_path(classify, memory)


class _Leaf:
    """What was seen of one leaf of the two memories."""

    def __init__(self) -> None:
        self.constant, self.counts = True, True
        self.odd_part, self.size = 0.0, 0.0

    def look(self, *ends: np.ndarray) -> None:
        """One step: before it with the signs (+, -), and after it."""
        before, before_minus, plus, minus = (np.asarray(end, np.float64) for end in ends)
        steps = (plus - before, minus - before_minus)
        self.counts &= all(np.all(step == 1) for step in steps)
        self.constant &= all(np.all(step == 0) for step in steps)
        self.odd_part = max(self.odd_part, np.max(np.abs(plus - minus), initial=0))
        self.size = max(self.size, *(np.max(np.abs(end), initial=0) for end in (plus, minus)))


def _much_later(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """A leaf that has counted, as it would stand after many more steps; any other as it is."""
    if not np.issubdtype(last.dtype, np.integer):
        return last
    return np.asarray(last + np.where(last - first == _STEPS, _LATE, 0), last.dtype)


def _concrete(traced: ClosedJaxpr) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """Compile `traced` to run now, though an outer `jit` or `vmap` may be tracing.

    Hyperparameters of an outer trace were hoisted into the constants; parity does not depend on
    their values, so a generic one stands in for each.
    """
    with jax.ensure_compile_time_eval():
        constants = [
            jnp.full(c.shape, 0.5).astype(c.dtype) if isinstance(c, Tracer) else c
            for c in traced.consts
        ]
    compiled = jax.jit(jaxpr_as_fun(ClosedJaxpr(traced.jaxpr, constants)))

    def run(leaves: list[np.ndarray]) -> list[np.ndarray]:
        with jax.ensure_compile_time_eval():
            return [np.asarray(leaf) for leaf in compiled(*leaves)]

    return run


def _not_smooth(path: jax.tree_util.KeyPath, what: str) -> str:
    return (
        f"The leaf {jax.tree_util.keystr(path)} of the optimizer's state {what}; a flow carries "
        "float leaves, counters that advance by one each step, and constants."
    )
