"""An oscillation on its way to its rest point, about a point of phase space that stands still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow.curvature._norms import with_norms_held
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.maps.parity import Parity

# An error of the oscillation halves at worst in each, and one of b2 = .5 does, too.
_PROBE_ITERATIONS = 64


class Settling(eqx.Module):
    """An oscillation on its way to its rest point, and the memory on its way to the present.

    Attributes:
        iteration: The map of single steps.
        state: The point of phase space at which auxiliary leaves and clocks stand.
        x: The oscillation, None on the leaves that do not oscillate.
        memory: The auxiliary leaves before a step that ends with their present values.
        respond: The increment for a state and gradients; `iteration.respond`, unless norms are
            held.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> from rodflow.curvature import Settling
        >>> iteration = rodflow.Iteration(lambda w: w**2, optax.sgd(0.5))
        >>> settling = Settling.begin(iteration, iteration.init(jnp.array(1.0)))
        >>> float(settling.settled(jnp.array(2.0), iterations=3).x.params)
        0.5
    """

    iteration: AbstractIteration
    state: PhaseState
    x: PhaseState
    memory: PhaseState
    respond: Callable[[PhaseState, PyTree], PhaseState]

    @classmethod
    def begin(cls, iteration: AbstractIteration, state: PhaseState) -> Settling:
        if iteration.updates > 1:
            raise ValueError(
                f"An epoch of {iteration.updates} updates has no response to one alternating "
                "gradient; its flows are `RodFlow` and `StableFlow`."
            )
        parity = iteration.parity(state.params)
        # A step from where the clocks stood before their last tick ends at their present values.
        state = jax.tree.map(lambda z, p: z - 1 if p is Parity.CLOCK else z, state, parity)
        # The second moment of a parameter that never had a gradient is 0, where its root has no
        # derivative.
        state = jax.tree.map(
            lambda z, p: jnp.where(z == 0, _almost_zero(z), z) if p is Parity.AUXILIARY else z,
            state,
            parity,
        )
        x = jax.tree.map(jnp.zeros_like, eqx.filter(state, _are(parity, Parity.OSCILLATING)))
        memory = eqx.filter(state, _are(parity, Parity.AUXILIARY))
        return cls(iteration, state, x, memory, iteration.respond)

    @classmethod
    def at_present(cls, iteration: AbstractIteration, state: PhaseState) -> Settling:
        """Begin with norms held as they are under the gradient and the momenta at `state`."""
        start = cls.begin(iteration, state)
        return start.holding(*start.present())

    def holding(self, there: PhaseState, grads: PyTree) -> Settling:
        """Return the same with norms held as they are under a gradient at a point."""
        oscillates = _are(self.iteration.parity(self.state.params), Parity.OSCILLATING)
        mirrored = jax.tree.map(lambda osc, z: -z if osc else z, oscillates, there)
        minus = jax.tree.map(jnp.negative, grads)
        respond = with_norms_held(self.iteration.respond, (there, grads), (mirrored, minus))
        return Settling(self.iteration, self.state, self.x, self.memory, respond)

    def present(self) -> tuple[PhaseState, PyTree]:
        """Return the state before a step with the present gradient, and that gradient.

        Momenta and parameters are as at present; with this gradient, the step ends with the
        auxiliary leaves at their present values.
        """
        grads = jax.grad(self.iteration.loss)(self.state.params)
        auxiliary = _are(self.iteration.parity(self.state.params), Parity.AUXILIARY)
        present = eqx.filter(self.state, auxiliary)

        def back(memory: PhaseState) -> PhaseState:
            moved = self.iteration.respond(eqx.combine(memory, self.state), grads)
            return _earlier(present, memory, eqx.filter(moved, auxiliary))

        return eqx.combine(_until_still(back, present), self.state), grads

    def remembering(self) -> Settling:
        """Return the same with its memory where it stays, before any oscillation."""
        auxiliary = _are(self.iteration.parity(self.state.params), Parity.AUXILIARY)
        present = eqx.filter(self.state, auxiliary)
        zeros = jax.tree.map(jnp.zeros_like, self.state.params)

        def back(memory: PhaseState) -> PhaseState:
            moved = self.respond(self._still(memory), zeros)
            return _earlier(present, memory, eqx.filter(moved, auxiliary))

        memory = _until_still(back, self.memory)
        return Settling(self.iteration, self.state, self.x, memory, self.respond)

    def linearized(self) -> tuple[PhaseState, Callable[[PhaseState, PyTree], PhaseState]]:
        """Return zeros of the leaves that oscillate, and the linear response of their increment.

        The response is a linear function of a displacement of those leaves and of the gradient.
        """
        oscillates = _are(self.iteration.parity(self.state.params), Parity.OSCILLATING)
        still = self._still(self.memory)
        moving = eqx.filter(still, oscillates)

        def increment(displaced: PhaseState, grads: PyTree) -> PhaseState:
            moved = self.respond(eqx.combine(displaced, still), grads)
            return eqx.filter(moved, oscillates)

        zeros = jax.tree.map(jnp.zeros_like, still.params)
        return moving, jax.linearize(increment, moving, zeros)[1]

    def taken(self, there: PhaseState, grads: PyTree) -> tuple[PhaseState, PhaseState]:
        """Return what oscillates of a point, and how the optimizer itself moves it from there."""
        oscillates = _are(self.iteration.parity(self.state.params), Parity.OSCILLATING)
        moved = self.iteration.respond(there, grads)
        return eqx.filter(there, oscillates), eqx.filter(moved, oscillates)

    def _still(self, memory: PhaseState) -> PhaseState:
        """Return the point without gradient and momentum: second moments feel no oscillation."""
        oscillates = _are(self.iteration.parity(self.state.params), Parity.OSCILLATING)
        moving = jax.tree.map(jnp.zeros_like, eqx.filter(self.state, oscillates))
        return eqx.combine(eqx.combine(memory, moving), self.state)

    def settled(
        self,
        grads: PyTree[Array],
        growth: float | Float[Array, ""] = 0.0,
        iterations: int = _PROBE_ITERATIONS,
    ) -> Settling:
        """Return the same, so many iterations closer to where both stay."""
        parity = self.iteration.parity(self.state.params)
        oscillates = _are(parity, Parity.OSCILLATING)
        auxiliary = _are(parity, Parity.AUXILIARY)
        state, present = self.state, eqx.filter(self.state, auxiliary)
        factor = 1 + jnp.exp(growth)

        def settle(carry: tuple[PhaseState, PhaseState], _: None) -> tuple[Any, None]:
            x, memory = carry
            still = self._still(memory)
            tangent = eqx.combine(x, jax.tree.map(jnp.zeros_like, state))
            zeros = jax.tree.map(jnp.zeros_like, grads)
            after, response = jax.jvp(self.respond, (still, zeros), (tangent, grads))
            x = jax.tree.map(
                lambda b: (-b / factor).astype(b.dtype), eqx.filter(response, oscillates)
            )
            # And let the step end with the auxiliary leaves as they are at present.
            return (x, _earlier(present, memory, eqx.filter(after, auxiliary))), None

        x, memory = jax.lax.scan(settle, (self.x, self.memory), length=iterations)[0]
        return Settling(self.iteration, self.state, x, memory, self.respond)


def _until_still(function: Callable[[PyTree], PyTree], start: PyTree) -> PyTree:
    """Return where iterations of `function` from `start` stay, or are after the last one."""

    def going_on(carry: tuple[Array, PyTree, Array]) -> Array:
        return (carry[0] < _PROBE_ITERATIONS) & carry[2]

    def once(carry: tuple[Array, PyTree, Array]) -> tuple[Array, PyTree, Array]:
        new = function(carry[1])
        moved = jax.tree.map(lambda a, b: jnp.any(a != b), carry[1], new)
        return carry[0] + 1, new, jax.tree.reduce(jnp.logical_or, moved, jnp.array(False))

    return jax.lax.while_loop(going_on, once, (jnp.array(0), start, jnp.array(True)))[1]


def _earlier(present: PhaseState, memory: PhaseState, moved: PhaseState) -> PhaseState:
    """Return the memory from which a step would have ended at present, had it moved by `moved`."""
    return jax.tree.map(lambda a, m, g: a - g, present, memory, moved)


def _almost_zero(leaf: Array) -> Array:
    return jnp.asarray(jnp.finfo(leaf.dtype).tiny ** 0.9, leaf.dtype)  # no step makes it subnormal


def _are(parity: PhaseState, kind: Parity) -> PyTree[bool]:
    return jax.tree.map(lambda p: p is kind, parity)
