"""Updates of a transformation where its counters are floats, and the needs that tracing finds.

A flow evaluates an update between two steps. Most updates of Optax are functions of a float
counter. One that takes a counter for an index, such as a schedule that is a table, has no value at
t = n + f, and is interpolated between the steps n and n + 1 with everything else as it is,

    (1 - f) update(n) + f update(n + 1)

which is the update itself at every step. It evaluates the update twice, the gradient once.
"""

from __future__ import annotations

import re
import weakref
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from rodflow.linalg.trees import without_empty_tuples

# A memo of facts, kept as long as the transformations live, as the same one is often asked for.
# Two of them may share an update and differ in their memory, so both functions are the key.
_KNOWN: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


class Needs(NamedTuple):
    """Needs of an update beyond gradients, state and parameters.

    Attributes:
        value: True if it asks for the value of the loss, as `optax.polyak_sgd` does.
        integers: True if it takes integer counters only.
    """

    value: bool
    integers: bool


def unobserved(tx: Any) -> Any:
    """Return the optimizer within one that only adds readings of it, such as `rodflow.monitored`.

    Such an update is a method of an object that has the optimizer as its `observed`.
    """
    owner = getattr(getattr(tx, "update", None), "__self__", None)
    return getattr(owner, "observed", tx)


def without_readings(memory: PyTree) -> PyTree:
    """Return the state of the optimizer within one that only adds readings of it.

    Such a state has that of the optimizer as its `observed_state`.
    """
    return getattr(memory, "observed_state", memory)


def memo_of(tx: optax.GradientTransformation) -> dict[Any, Any]:
    """Return what is known of `tx`, to be added to."""
    try:
        return _KNOWN.setdefault(tx.update, weakref.WeakKeyDictionary()).setdefault(tx.init, {})
    except TypeError:  # a callable that cannot be referred to weakly, or hashed
        return {}


def needs_of(tx: optax.GradientTransformation, params: PyTree) -> Needs:
    """Return the needs of an update; its trace is made once for each transformation.

    Raises:
        ValueError: The update needs more (a line search), or fails on these parameters.
    """
    known = memo_of(tx)
    if "needs" not in known:
        value = _fails(tx, params, Needs(value=False, integers=True))
        known["needs"] = Needs(value, _fails(tx, params, Needs(value, integers=False)))
    return known["needs"]


def is_counter(like: jax.ShapeDtypeStruct | Array) -> bool:
    """Return True for an integer leaf of a state; a flag is none."""
    return jnp.issubdtype(like.dtype, jnp.integer)


def _fails(tx: optax.GradientTransformation, params: PyTree, needs: Needs) -> bool:
    """Return True if the update takes more: the loss, or integers where it was given floats."""
    like = jax.tree.map(lambda p: jax.ShapeDtypeStruct(jnp.shape(p), jnp.result_type(p)), params)

    def update(grads: PyTree, memory: PyTree, params: PyTree) -> PyTree:
        value = {"value": jnp.zeros(())} if needs.value else {}
        return tx.update(grads, memory, params, **value)

    try:
        memory = jax.eval_shape(tx.init, like)
        if not needs.integers:
            memory = jax.tree.map(
                lambda m: jax.ShapeDtypeStruct(m.shape, float) if is_counter(m) else m, memory
            )
        jax.eval_shape(update, like, memory, like)
    except Exception as error:
        text = str(error)
        asked = re.findall(r"'(\w+)'", text.rpartition("argument")[2])
        if not isinstance(error, TypeError) or "required keyword-only argument" not in text:
            if not needs.integers:
                return True
            raise ValueError(
                "The update of `tx` cannot be traced with gradients, state and parameters of the "
                f"structure of `params`: it raised {type(error).__name__} ({_first_words(text)})."
            ) from error
        if asked == ["value"]:
            return True
        names = ", ".join(asked)
        raise ValueError(
            f"The transformation's update asks for {names}; an optimizer with a flow takes "
            "gradients, state, parameters and the value of the loss only (a line search evaluates "
            "the loss elsewhere, and is no map on phase space)."
        ) from error
    return False


def _first_words(text: str) -> str:
    line = (text.splitlines() or [""])[0].split(". ")[0].rstrip(".")
    return line if len(line) <= 120 else f"{line[:117]}..."


def between_steps(
    tx: optax.GradientTransformation,
    clocks: PyTree[bool],
    grads: PyTree,
    memory: PyTree,
    params: PyTree,
    extra: dict[str, Array],
) -> tuple[PyTree, PyTree]:
    """Return the update and the next state of a transformation that takes integer counters.

    Args:
        tx: The transformation.
        clocks: True on the leaves of the state that count steps.
        grads: The gradients.
        memory: The state, with every integer as a float.
        params: The parameters.
        extra: Further arguments of the update.
    """
    likes = without_empty_tuples(jax.eval_shape(tx.init, params))

    def at(later: int) -> tuple[PyTree, PyTree]:
        def given(like: jax.ShapeDtypeStruct, leaf: Array, clock: bool) -> Array:
            if clock:
                return (jnp.floor(leaf) + later).astype(like.dtype)
            return jnp.round(leaf).astype(like.dtype) if is_counter(like) else leaf

        before = jax.tree.map(given, likes, memory, clocks)
        updates, after = tx.update(grads, before, params, **extra)
        after = without_empty_tuples(after)
        # A clock advances from where it is.
        after = jax.tree.map(
            lambda clock, leaf, old, new: leaf + (new - old) if clock else new.astype(leaf.dtype),
            clocks,
            memory,
            before,
            after,
        )
        return updates, after

    parts = [
        jnp.max(leaf - jnp.floor(leaf))
        for leaf, clock in zip(jax.tree.leaves(memory), jax.tree.leaves(clocks), strict=True)
        if clock
    ]
    part = jnp.max(jnp.stack(parts)) if parts else jnp.zeros(())
    return jax.tree.map(lambda a, b: (a + part * (b - a)).astype(a.dtype), at(0), at(1))
