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

Last, the same step is taken with the counters at eight consecutive values. An update that jumps
back and forth with them, as one that is skipped every second step does, belongs to no one map, and
is refused.

Weights and gradients of the probe are made in the shards of the parameters where these are sharded,
and memories are looked at shard by shard: nothing large is gathered.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from rodflow.linalg.trees import without_empty_tuples
from rodflow.maps._generic import concrete, generic
from rodflow.maps._seen import Seen, look, much_later
from rodflow.maps._transformation import memo_of, needs_of, without_readings
from rodflow.maps.placement import Placement

_SIGNS = (1, -1)
_STEPS = 3
# Steps of which the update is compared: late enough for a bias correction to be smooth, and more of
# them than the two or three at which a schedule in pieces may jump.
_COMPARED = range(100, 108)
_JUMP, _JUMPS = 0.1, 3


class Parity(enum.Enum):
    """The behaviour of a leaf of phase space when the sign of the oscillation flips.

    Theory: docs/theory/parity.md.

    - `OSCILLATING`: it flips, such as parameters, first moments and traces.
    - `AUXILIARY`: a float leaf that is blind to the sign, such as second moments.
    - `CLOCK`: an integer leaf that counts steps.
    - `CONSTANT`: a leaf that never changes, such as an injected hyperparameter.
    - `ROUNDING`: a rounding error that is added to the next update (`RoundingError`).

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
    ROUNDING = "rounding"


class RoundingError(NamedTuple):
    """The mark of rounding errors in the state of a transformation, which add them to an update.

    They are no smooth variables. A flow rounds nothing, so that its rounding error is handed to
    the parameters in the first step of its map, and is zero from then on.

    Attributes:
        values: The errors, a pytree like the parameters.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> state = rodflow.compensate_rounding().init({"w": jnp.zeros(2, jnp.bfloat16)})
        >>> state.remainder
        RoundingError(values={'w': Array([0, 0], dtype=bfloat16)})
    """

    values: PyTree


def are_rounding_errors(memory: PyTree) -> PyTree[bool]:
    """Return True on the leaves of a state that are marked as rounding errors.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rodflow.maps import RoundingError, are_rounding_errors
        >>> are_rounding_errors({"trace": jnp.ones(2), "remainder": RoundingError(jnp.ones(2))})
        {'remainder': RoundingError(values=True), 'trace': False}
    """
    return jax.tree.map(
        lambda node: jax.tree.map(lambda _: isinstance(node, RoundingError), node),
        memory,
        is_leaf=lambda node: isinstance(node, RoundingError),
    )


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
    """Return the parity of every leaf of `tx.init(params)`, in the structure of a phase state.

    It depends on the structure, shapes and dtypes of `params`, not on their values, and `tx` may
    close over traced hyperparameters. Theory: docs/theory/parity.md.

    Args:
        tx: The transformation.
        params: Parameters, or tracers of them.
        updates: Updates of `tx` in one application of the map.
        placement: The sharding of each leaf of `params`, None where nothing is sharded.

    Raises:
        ValueError: The update needs more than gradients, state, parameters and the loss (a line
            search), it jumps back and forth with the counter, or the state has a leaf that no
            smooth flow can carry (a random key, a counter that wraps around).

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from rodflow.maps import probe_parity
        >>> probe_parity(optax.sgd(0.1, momentum=0.9), jnp.ones(3))[0].trace
        <Parity.OSCILLATING: 'oscillating'>
    """
    known = memo_of(tx)
    leaves, structure = jax.tree.flatten(params)
    kind = (structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves), updates)
    if kind not in known:
        known[kind] = without_empty_tuples(_probe(tx, params, updates, placement))
    return known[kind]


def _probe(
    tx: optax.GradientTransformation,
    params: PyTree[Array],
    updates: int,
    placement: Placement | None,
) -> PyTree[Parity]:
    extra = {"value": np.float32(0.5)} if needs_of(tx, params).value else {}
    memory = jax.eval_shape(tx.init, params)
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    readings = jax.tree_util.tree_leaves_with_path(memory, is_leaf=_has_readings)
    for path, node in readings:
        if _has_readings(node):
            raise ValueError(
                _not_smooth(
                    path,
                    "has readings of `rodflow.monitored`, which must be "
                    "outside of all other transformations",
                )
            )
    paths = jax.tree_util.tree_leaves_with_path(memory)
    for path, like in paths:
        if jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key):
            raise ValueError(_not_smooth(path, "is a random key"))

    def numbers(*trees: PyTree) -> Iterator[list]:
        floats = [jnp.issubdtype(like.dtype, jnp.floating) for _, like in paths]
        return (list(itertools.compress(jax.tree.leaves(tree), floats)) for tree in trees)

    def remember(g: PyTree, before: PyTree, weights: PyTree) -> PyTree:
        updates, after = tx.update(g, before, weights, **extra)
        after = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, before)
        old, new = numbers(before, after)
        moves = jax.tree.leaves(updates) + [b - a for a, b in zip(old, new, strict=True)]
        products = [a * b for a, b in zip(jax.tree.leaves(g) + old, moves, strict=True)]
        return after, [jnp.stack([jnp.sum(x), jnp.sum(jnp.abs(x))]) for x in products]

    init = concrete(jax.make_jaxpr(tx.init)(shapes))
    update = concrete(jax.make_jaxpr(remember)(shapes, memory, shapes))
    likes = jax.tree.leaves(shapes)
    shardings = [None] * len(likes) if placement is None else placement

    def arrays(sign: int, draw: int) -> list[Array | np.ndarray]:
        return [
            generic(sign, draw * len(likes) + place, like, sharding)
            for place, (like, sharding) in enumerate(zip(likes, shardings, strict=True))
        ]

    def apply(
        sign: int, before: Sequence[Array | np.ndarray], count: int
    ) -> tuple[Sequence[Array | np.ndarray], np.ndarray]:
        """Return the memory after the map, and how far all that is float moves, and its size."""
        after: Sequence[Array | np.ndarray] = before
        moved = np.zeros(())
        for draw in range(1 + count * updates, 1 + (count + 1) * updates):
            ends = update([*arrays(sign, draw), *after, *arrays(sign, 0)])
            after, products = ends[: len(paths)], ends[len(paths) :]
            moved = moved + np.asarray(products, float)
        return after, moved

    seen = [Seen() for _ in paths]
    firsts = befores = [init(arrays(sign, 0)) for sign in _SIGNS]
    for count in range(_STEPS + 1):
        if count == _STEPS:
            befores = [list(map(much_later, *pair)) for pair in zip(firsts, befores, strict=True)]
        afters = [
            apply(sign, before, count)[0] for sign, before in zip(_SIGNS, befores, strict=True)
        ]
        seen = list(map(look, seen, *befores, *afters))
        if count == 0:  # a flag may tell the first step from all others
            seen = [
                at._replace(strides=frozenset()) if like.dtype == jnp.bool_ else at
                for at, (_, like) in zip(seen, paths, strict=True)
            ]
        befores = afters
    found = iter(seen)

    def classify(path: jax.tree_util.KeyPath, like: jax.ShapeDtypeStruct, rounding: bool) -> Parity:
        leaf = next(found)
        if rounding:
            return Parity.ROUNDING
        if leaf.strides == {0}:
            return Parity.CONSTANT
        if jnp.issubdtype(like.dtype, jnp.floating):
            even = leaf.odd_part <= jnp.finfo(like.dtype).eps ** 0.5 * leaf.size
            return Parity.AUXILIARY if even else Parity.OSCILLATING
        if len(leaf.strides) == 1 and 1 <= min(leaf.strides) <= updates:
            return Parity.CLOCK
        raise ValueError(
            _not_smooth(
                path,
                "neither counts the steps one by one nor stays as it is (one that starts anew, as "
                "that of optax.MultiSteps, needs `rodflow.Epoch` over its period)",
            )
        )

    parity = jax.tree_util.tree_map_with_path(classify, memory, are_rounding_errors(memory))
    kinds = jax.tree.leaves(parity)
    # Auxiliary leaves may be learned in every k-th step: a flow has the mean of that.
    (remembered,) = numbers(parity)
    watched = [kind is Parity.OSCILLATING for kind in remembered]
    watched = [True] * len(likes) + watched

    def moved_at(count: int) -> np.ndarray:
        memory = [
            np.full(leaf.shape, count * min(at.strides), leaf.dtype)
            if kind is Parity.CLOCK
            else leaf
            for kind, at, leaf in zip(kinds, seen, befores[0], strict=True)
        ]
        return apply(1, memory, _STEPS + 1)[1][watched]

    if Parity.CLOCK in kinds:
        _check_one_map(np.array([moved_at(count) for count in _COMPARED]))
    return parity


def _has_readings(node: PyTree) -> bool:
    return without_readings(node) is not node


def _check_one_map(moved: np.ndarray) -> None:
    """Refuse an update that jumps back and forth with its counters, all else being equal."""
    moves, sizes = moved[..., 0], np.max(moved[..., 1], axis=0)
    bends = np.abs(np.diff(moves, n=2, axis=0))
    if np.any(np.sum(bends > _JUMP * sizes, axis=0) >= _JUMPS):
        raise ValueError(
            "The update jumps back and forth from step to step by its counter alone, as one that "
            "is skipped every second step does; a flow needs one map for all steps, which changes "
            "smoothly with the counter."
        )


def _not_smooth(path: jax.tree_util.KeyPath, what: str) -> str:
    return (
        f"The leaf {jax.tree_util.keystr(path)} of the optimizer's state {what}; a flow carries "
        "float leaves, counters that advance by one each step, and constants."
    )
