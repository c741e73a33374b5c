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
from collections.abc import Callable
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from rodflow._checks import shown
from rodflow.linalg.trees import alike, without_empty_tuples
from rodflow.maps._loss import check_loss, check_params, hashable
from rodflow.maps._transformation import between_steps, needs_of, unobserved, without_readings
from rodflow.maps.parity import Parity, are_rounding_errors, as_clock, probe_parity
from rodflow.maps.placement import Placement, place, placement_of
from rodflow.maps.programs import compiled


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
        tx: The Optax transformation, without the readings of `rodflow.monitored`.
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

    loss_fn: Callable[[PyTree], Float[Array, ""]] = eqx.field(converter=lambda f: hashable(f))
    tx: optax.GradientTransformation = eqx.field(converter=lambda tx: unobserved(tx))
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
        check_params(params)
        params = jax.tree.map(jnp.asarray, without_empty_tuples(params))
        check_loss(self.loss_fn, params)
        self.placed(params).parity(params)
        return PhaseState(
            params, jax.tree.map(as_clock, without_empty_tuples(self.tx.init(params)))
        )

    def check(self, state: PhaseState | tuple[PyTree, PyTree]) -> PhaseState:
        """Return `state`, its counters as floats, if it is a point of this map's phase space.

        Args:
            state: A `PhaseState`, or parameters and optimizer state as Optax has them.

        Raises:
            ValueError: The state is neither, or that of another transformation.
        """
        if not isinstance(state, tuple) or len(state) != 2:
            raise ValueError(
                f"`state` is of type {type(state).__name__}; it must be a PhaseState, as "
                "`Iteration.init` returns, or a tuple (params, opt_state)."
            )
        params, opt_state = without_empty_tuples((state[0], without_readings(state[1])))
        if not alike(self._shapes(params), opt_state):
            raise ValueError(
                "`state` is of another transformation: its optimizer state is not what `tx` would "
                "make for its parameters."
            )
        return PhaseState(jax.tree.map(jnp.asarray, params), jax.tree.map(as_clock, opt_state))

    def step(self, state: PhaseState) -> PhaseState:
        """Return F(z), the next iterate, as Optax computes it."""
        return self.advance(state)[1]

    def _shapes(self, params: PyTree) -> PyTree[jax.ShapeDtypeStruct]:
        return without_empty_tuples(jax.eval_shape(self.tx.init, params))

    def _update(
        self, state: PhaseState, grads: PyTree, loss: Callable[[], Array]
    ) -> tuple[PyTree, PyTree]:
        """Return the updates of the parameters and the next optimizer state."""
        needs = needs_of(self.tx, state.params)
        extra = {"value": loss()} if needs.value else {}
        if needs.integers:
            parity = self.parity(state.params).opt_state
            clocks = jax.tree.map(lambda p: p is Parity.CLOCK, parity)
            return between_steps(self.tx, clocks, grads, state.opt_state, state.params, extra)
        # Flags return to their own type; counters may stay float in all of Optax.
        opt_state = jax.tree.map(
            lambda flag, leaf: leaf > 0.5 if flag else leaf, self._flags(state), state.opt_state
        )
        updates, opt_state = self.tx.update(grads, opt_state, state.params, **extra)
        return updates, jax.tree.map(
            lambda old, new: new.astype(old.dtype),
            state.opt_state,
            without_empty_tuples(opt_state),
        )

    def _flags(self, state: PhaseState) -> PyTree[bool]:
        """Return True on the leaves of the optimizer state that were booleans."""
        memory = self._shapes(state.params)
        if jax.tree.structure(memory) == jax.tree.structure(state.opt_state):
            return jax.tree.map(lambda like: like.dtype == jnp.bool_, memory)
        # Parameters that a flow has widened: the memory is that of their narrow type.
        return jax.tree.map(lambda _: False, state.opt_state)

    def _moved(self, state: PhaseState, params: PyTree, opt_state: PyTree) -> PhaseState:
        """Return the increment to an optimizer state; rounding errors are none of a flow's."""
        moved = jax.tree.map(jnp.subtract, opt_state, state.opt_state)
        rounding = are_rounding_errors(state.opt_state)
        moved = jax.tree.map(
            lambda r, old, move: -old if r else move, rounding, state.opt_state, moved
        )
        return PhaseState(params, moved)


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
        updates, opt_state = self._update(state, grads, lambda: loss)
        return loss, PhaseState(optax.apply_updates(state.params, updates), opt_state)

    def increment(self, state: PhaseState) -> PhaseState:
        """Return G(z) = F(z) - z, per optimizer step, from one gradient evaluation."""
        loss, grads = _value_and_grad(self, state.params)
        return self._increment(state, grads, lambda: loss)

    def respond(self, state: PhaseState, grads: PyTree) -> PhaseState:
        """Return the increment of one step from `state` if the gradient there were `grads`."""
        return self._increment(state, grads, lambda: self.loss(state.params))

    def _increment(self, state: PhaseState, grads: PyTree, loss: Callable[[], Array]) -> PhaseState:
        updates, opt_state = self._update(state, grads, loss)
        # The update itself is the increment; (w + u) - w would round it once more.
        params = jax.tree.map(lambda p, u: u.astype(p.dtype), state.params, updates)
        return self._moved(state, params, opt_state)

    def parity(self, params: PyTree) -> PhaseState:
        return PhaseState(
            jax.tree.map(lambda _: Parity.OSCILLATING, params),
            probe_parity(self.tx, params, self.updates, self.placement),
        )


def _value_and_grad(iteration: AbstractIteration, params: PyTree) -> tuple[Array, PyTree]:
    """Return the loss and its gradient, traced once for all that follow the iterates."""
    # Inlined, so that a program has nothing but its operations.
    return compiled(_differentiated, iteration.loss_fn, iteration.placement, params, inline=True)


def _differentiated(
    loss: Callable[[PyTree], Array], placement: Placement | None, params: PyTree
) -> tuple[Array, PyTree]:
    def placed(params: PyTree) -> Array:
        return loss(params if placement is None else place(params, placement))

    return jax.value_and_grad(placed)(params)
