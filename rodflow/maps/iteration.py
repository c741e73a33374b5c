"""An optimizer as a map on phase space.

A full-batch optimizer is a map on its phase space z = (parameters w, optimizer state):

    z[t+1] = F(z[t]),        G(z) = F(z) - z        (the increment of one step)

Any Optax transformation gives an F: take ``g = grad(loss)(w)``, call ``update(g, state, w)``, apply
the updates. Integer leaves of the state (step counters) are carried as floats, the *clocks*, so
that bias corrections and schedules become smooth functions of time.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from rodflow._checks import check_scalar, shown
from rodflow.linalg.trees import alike
from rodflow.maps.parity import Parity, as_clock, probe_parity
from rodflow.maps.placement import Placement, place, placement_of


class PhaseState(NamedTuple):
    """A point of phase space. Theory: docs/theory/map.md.

    Attributes:
        params: The parameters, a pytree of real float arrays.
        opt_state: The state of the optimizer as Optax has it, with counters as floats.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> state = rodflow.Iteration(lambda w: w**2, optax.adam(0.1)).init(jnp.array(1.0))
        >>> state.params
        Array(1., dtype=float32, weak_type=True)
        >>> state.opt_state[0].count  # an integer in Optax
        Array(0., dtype=float32)
    """

    params: PyTree
    opt_state: PyTree


class AbstractIteration(eqx.Module):
    """The map F of an optimizer on phase space, as an immutable value. Theory: docs/theory/map.md.

    Two iterations of the same loss and transformation are equal, and share compiled programs. The
    transformation may be built from traced hyperparameters, inside `jit` or `vmap`.

    Attributes:
        loss_fn: The loss as it was given, a function of the parameters.
        tx: The Optax transformation.
        placement: The sharding to which parameters are held; None where nothing is sharded.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> iteration = rodflow.Iteration(lambda w: w**2 / 2, optax.sgd(0.5, momentum=0.5))
        >>> isinstance(iteration, rodflow.AbstractIteration)
        True
        >>> loss, state = iteration.advance(iteration.init(jnp.array(1.0)))
        >>> float(loss), float(state.params)
        (0.5, 0.5)
    """

    loss_fn: Callable[[PyTree], Float[Array, ""]] = eqx.field(converter=lambda f: _hashable(f))
    tx: optax.GradientTransformation
    placement: Placement | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if not callable(getattr(self.tx, "update", None)):
            raise ValueError(
                f"`tx` is {shown(self.tx)}; it must be an Optax transformation, as "
                "optax.sgd(0.1) is."
            )

    @property
    @abc.abstractmethod
    def updates(self) -> int:
        """Updates of the optimizer in one application of the map."""

    @abc.abstractmethod
    def advance(self, state: PhaseState) -> tuple[Float[Array, ""], PhaseState]:
        """Return the loss at `state` and the next iterate F(z)."""

    @abc.abstractmethod
    def increment(self, state: PhaseState) -> PhaseState:
        """Return G(z) = F(z) - z, of the structure of `state`, per unit of time."""

    @abc.abstractmethod
    def respond(self, state: PhaseState, grads: PyTree) -> PhaseState:
        """Return the increment from `state` if every gradient were `grads`."""

    @abc.abstractmethod
    def parity(self, params: PyTree) -> PhaseState:
        """Return the parity of every leaf of phase space, a `PhaseState` of `Parity` leaves.

        It depends on the structure, shapes and dtypes of `params` alone, which may be traced.

        Raises:
            ValueError: The transformation is no smooth map on phase space.
        """

    def at(self, placement: Placement | None) -> AbstractIteration:
        """Return the same map with its parameters held to `placement`."""
        return dataclasses.replace(self, placement=placement)

    def placed(self, params: PyTree) -> AbstractIteration:
        """Return the same map with its parameters held to where `params` are, if sharded.

        The place of traced parameters is not known, and leaves the map as it is.
        """
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
            return self
        return self.at(placement_of(params))

    def loss(self, params: PyTree) -> Float[Array, ""]:
        """Return the loss at `params`, which are held to the placement of this map."""
        return self.loss_fn(self.hold(params))

    def hold(self, params: PyTree) -> PyTree:
        """Return `params`, held to the placement of this map."""
        return params if self.placement is None else place(params, self.placement)

    def init(self, params: PyTree) -> PhaseState:
        """Return the initial point of phase space at `params`.

        Args:
            params: A pytree of real float arrays.

        Raises:
            ValueError: The parameters are not real floats, the loss is not a finite scalar there (a
                traced loss is not checked: it becomes a run that diverged at once), or the
                transformation is no smooth map on phase space.
        """
        params = jax.tree.map(jnp.asarray, params)
        _check_params(params)
        _check_loss(self.loss_fn, params)
        self.placed(params).parity(params)
        return PhaseState(params, jax.tree.map(as_clock, self.tx.init(params)))

    def check(self, state: PhaseState) -> None:
        """Raise a `ValueError` unless `state` is a point of this map's phase space.

        Raises:
            ValueError: The state is no `PhaseState`, or that of another transformation.
        """
        if not isinstance(state, PhaseState):
            raise ValueError(
                f"`state` is of type {type(state).__name__}; it must be a PhaseState, as "
                "`Iteration.init` returns."
            )
        if not alike(jax.eval_shape(self.tx.init, state.params), state.opt_state):
            raise ValueError(
                "`state` is of another transformation: its optimizer state is not what `tx` would "
                "make for its parameters."
            )

    def step(self, state: PhaseState) -> PhaseState:
        """Return F(z), the next iterate, as Optax computes it."""
        return self.advance(state)[1]

    def _update(self, state: PhaseState, grads: PyTree) -> tuple[PyTree, PyTree]:
        # Flags return to their own type; counters may stay float in all of Optax.
        memory = jax.eval_shape(self.tx.init, state.params)
        opt_state = jax.tree.map(
            lambda like, leaf: leaf != 0 if like.dtype == jnp.bool_ else leaf,
            memory,
            state.opt_state,
        )
        updates, opt_state = self.tx.update(grads, opt_state, state.params)
        return updates, jax.tree.map(
            lambda old, new: new.astype(old.dtype), state.opt_state, opt_state
        )


@final
class Iteration(AbstractIteration):
    """The map of one optimizer step on a full-batch loss.

    Args:
        loss_fn: A function of the parameters that returns a scalar, without noise: data are closed
            over.
        tx: Any Optax transformation whose update takes gradients, state and parameters.
        placement: The sharding of each leaf of the parameters, see `placed`.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> iteration = rodflow.Iteration(lambda w: w**2 / 2, optax.sgd(0.5))
        >>> state = iteration.init(jnp.array(1.0))
        >>> float(iteration.step(state).params), float(iteration.increment(state).params)
        (0.5, -0.5)
    """

    @property
    def updates(self) -> int:
        return 1

    def advance(self, state: PhaseState) -> tuple[Float[Array, ""], PhaseState]:
        """Return the loss at `state` and F(z), from one gradient evaluation."""
        loss, grads = _value_and_grad(self, state.params)
        updates, opt_state = self._update(state, grads)
        return loss, PhaseState(optax.apply_updates(state.params, updates), opt_state)

    def increment(self, state: PhaseState) -> PhaseState:
        """Return G(z) = F(z) - z, per optimizer step, from one gradient evaluation."""
        return self.respond(state, _value_and_grad(self, state.params)[1])

    def respond(self, state: PhaseState, grads: PyTree) -> PhaseState:
        """Return the increment of one step from `state` if the gradient there were `grads`."""
        updates, opt_state = self._update(state, grads)
        # The update itself is the increment; (w + u) - w would round it once more.
        params = jax.tree.map(lambda p, u: u.astype(p.dtype), state.params, updates)
        return PhaseState(params, jax.tree.map(jnp.subtract, opt_state, state.opt_state))

    def parity(self, params: PyTree) -> PhaseState:
        return PhaseState(
            jax.tree.map(lambda _: Parity.OSCILLATING, params),
            probe_parity(self.tx, params, self.updates, self.placement),
        )


def _value_and_grad(iteration: AbstractIteration, params: PyTree) -> tuple[Array, PyTree]:
    """Return the loss and its gradient, traced once for all that follow the iterates."""
    arrays, functions = eqx.partition(iteration.loss_fn, eqx.is_array)
    leaves, structure = jax.tree.flatten(functions)
    return _traced_once(structure, tuple(leaves), iteration.placement, arrays, params)


# Inlined, so that a program has nothing but its operations.
@functools.partial(jax.jit, static_argnums=(0, 1, 2), inline=True)
def _traced_once(
    structure: Any,
    functions: tuple[Any, ...],
    placement: Placement | None,
    arrays: PyTree,
    params: PyTree,
) -> tuple[Array, PyTree]:
    loss = eqx.combine(structure.unflatten(functions), arrays)

    def placed(params: PyTree) -> Array:
        return loss(params if placement is None else place(params, placement))

    return jax.value_and_grad(placed)(params)


def _check_params(params: PyTree) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError("`params` has no leaves; it needs at least one float array.")
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} has dtype {leaf.dtype}; parameters must be "
                "real floats (close over integers and flags in the loss)."
            )


def _check_loss(loss: Callable[..., Any], params: PyTree) -> None:
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
    value = _evaluate(loss, params)
    # A loss that closes over the tracers of an outer transformation stays abstract.
    if not isinstance(value, Tracer) and not np.isfinite(value):
        raise ValueError(f"The loss at the start is {value}; it must be finite.")


@eqx.filter_jit
def _evaluate(loss: Callable[[PyTree], Array], params: PyTree) -> Array:
    return loss(params)


def _hashable(loss: Callable[[PyTree], Array]) -> Callable[[PyTree], Array]:
    """Return a loss that programs can be found by: itself, or a function around it."""
    try:
        hash(tuple(leaf for leaf in jax.tree.leaves(loss) if not eqx.is_array(leaf)))
    except TypeError:
        return lambda params: loss(params)
    return loss
