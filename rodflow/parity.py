"""The parity probe: which leaves of an optimizer's state oscillate, and which are smooth.

At the edge of stability the gradient flips its sign every step. What a transformation remembers of
such gradients is found by asking it: run its update for a few steps on (w, g) and again on
(-w, -g), from its initial state, and compare the memories (MATH.md section 6). A float leaf that
comes out equal is blind to the sign: it is *auxiliary* (a second moment, smooth in time). Any other
float leaf *oscillates* (a first moment, a trace). An integer leaf that counts steps is a *clock*,
and a leaf that never changes is *constant* (an injected hyperparameter, an unused flag).

The weights are flipped with the gradients so that L2 regularisation, which adds w to g, keeps its
second moments sign-blind, and a copy of the weights counts as oscillating.
"""

from __future__ import annotations

import enum

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array, PyTree

_STEPS = 3
_LATE = 9972  # steps at which a counter must still count: one that wraps around does not


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
    memory = jax.eval_shape(tx.init, params)
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    paths = jax.tree_util.tree_leaves_with_path(memory)
    for path, like in paths:
        if jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key):
            raise ValueError(_not_smooth(path, "is a random key"))

    def observe(signs: Array) -> list[tuple[Array, Array, Array]]:
        keys = jax.random.split(jax.random.key(0), _STEPS + 1)
        weights, *grads = [optax.tree.random_like(key, shapes) for key in keys]

        def run(sign: Array) -> tuple[list[list[Array]], list[Array]]:
            def flipped(tree: PyTree[Array]) -> PyTree[Array]:
                return jax.tree.map(lambda x: sign.astype(x.dtype) * x, tree)

            history = [tx.init(flipped(weights))]
            for g in grads:
                history.append(tx.update(flipped(g), history[-1], flipped(weights))[1])
            late = jax.tree.map(_much_later, history[0], history[-1])
            after = tx.update(flipped(grads[0]), late, flipped(weights))[1]
            ticks = jax.tree.map(lambda a, b: as_clock(a) - as_clock(b), after, late)
            leaves = [[as_clock(x) for x in jax.tree.leaves(state)] for state in history]
            return leaves, jax.tree.leaves(ticks)

        histories, ticks = jax.vmap(run)(signs)
        leaves = zip(*histories, ticks, strict=True)
        return [_compare(jnp.stack(history), tick) for *history, tick in leaves]

    try:
        traced = jax.make_jaxpr(observe)(np.array([1.0, -1.0]))
    except TypeError as error:
        if "required keyword-only argument" not in str(error):
            raise
        needs = str(error).rpartition("argument")[2].strip(" s:")
        raise ValueError(
            f"The transformation's update asks for {needs}; an optimizer with a flow takes "
            "gradients, state and parameters only (a line search is no map on phase space)."
        ) from error
    observations = iter(_evaluate(traced, np.array([1.0, -1.0])))

    def classify(path: jax.tree_util.KeyPath, like: jax.ShapeDtypeStruct) -> Parity:
        even, constant, counts = next(observations), next(observations), next(observations)
        if constant:
            return Parity.CONSTANT
        if jnp.issubdtype(like.dtype, jnp.floating):
            return Parity.AUXILIARY if even else Parity.OSCILLATING
        if counts:
            return Parity.CLOCK
        raise ValueError(
            _not_smooth(path, "neither counts the steps one by one nor stays as it is")
        )

    return jax.tree_util.tree_map_with_path(classify, memory)


def _much_later(first: Array, last: Array) -> Array:
    """A leaf that has counted, as it would stand after many more steps; any other as it is."""
    last = jnp.asarray(last)
    if not jnp.issubdtype(last.dtype, jnp.integer):
        return last
    return last + jnp.where(last - first == _STEPS, _LATE, 0).astype(last.dtype)


def _compare(leaf: Array, tick: Array) -> tuple[Array, Array, Array]:
    """Whether a (steps, 2 signs, ...) history, and its last `tick`, is even, constant, counting."""
    tolerance = jnp.finfo(leaf.dtype).eps ** 0.5
    plus, minus = leaf[:, 0], leaf[:, 1]
    scale = jnp.max(jnp.maximum(jnp.abs(plus), jnp.abs(minus)), initial=0)
    even = jnp.max(jnp.abs(plus - minus), initial=0) <= tolerance * scale
    difference = jnp.diff(leaf, axis=0)
    counts = jnp.all(difference == 1) & jnp.all(tick == 1)
    return even, jnp.all(difference == 0), counts


def _evaluate(traced: ClosedJaxpr, signs: np.ndarray) -> list[bool]:
    """Run `traced` now, though an outer `jit` or `vmap` may be tracing.

    Hyperparameters of an outer trace were hoisted into the constants; parity does not depend on
    their values, so a generic one stands in for each.
    """
    with jax.ensure_compile_time_eval():
        constants = [
            jnp.full(c.shape, 0.5).astype(c.dtype) if isinstance(c, Tracer) else c
            for c in traced.consts
        ]
        out = jax.jit(jaxpr_as_fun(ClosedJaxpr(traced.jaxpr, constants)))(signs)
    return [bool(x) for x in jax.device_get(out)]


def _not_smooth(path: jax.tree_util.KeyPath, what: str) -> str:
    return (
        f"The leaf {jax.tree_util.keystr(path)} of the optimizer's state {what}; a flow carries "
        "float leaves, counters that advance by one each step, and constants."
    )
