"""The Nyquist response of a chain: its oscillation under a gradient that alternates in sign.

A mode leaves stability when the linearised map has an eigenvalue -1. For a chain that acts on each
element by itself, the *Nyquist probe* finds where, without a table: freeze the auxiliary leaves and
clocks at their present values and feed the alternating gradient (-1)^t until the update settles
into -(-1)^t r. The edge is where the top eigenvalue of diag(r)^1/2 H diag(r)^1/2 reaches 2.

Norms of whole arrays, which decide a trust ratio (LARS, LAMB) and the clipping of gradients, are
held as they are at the present gradient and momenta (`rodflow.curvature._norms`): where clipping is
active, the response is that much smaller. The response to everything else is linear about zero. It
is that of the chain if it also gives the update of the present gradient; it does not for clipping
that is active element by element, nor for sign and spectral updates (Lion, Muon), which have no
linear response.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from rodflow._checks import shown
from rodflow.curvature._norms import with_norms_held
from rodflow.linalg.trees import norm
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.maps.parity import Parity

# An error of the oscillation halves at worst in each, and one of b2 = .5 does, too.
_PROBE_ITERATIONS = 64
# What a linear response may leave unexplained of the step of the present gradient.
_EXPLAINED = 0.05


def nyquist_response(
    iteration: AbstractIteration, state: PhaseState | tuple[PyTree, PyTree]
) -> PyTree[Array]:
    """Return the response r of the update to a gradient that alternates in sign.

    r is twice the oscillation of the parameters under a gradient of 1: they move by 2 x from one
    end to the other. For Adam with preconditioner p it is `lr (1 - b1) / ((1 + b1) p)`. Norms in
    the chain (trust ratios, clipping) are held as they are at the present gradient.
    Theory: docs/theory/edge.md.

    Args:
        iteration: The map of single steps.
        state: A point of its phase space, after at least one step for an adaptive method (its
            preconditioner is zero before); also with the optimizer state as Optax has it.

    Returns:
        The response in units of parameters over gradient, of the structure of `params`.

    Raises:
        ValueError: The map is of several updates (`Epoch`), or the state of another one.

    Examples:
        Momentum b1 divides the response by (1 + b1) / (1 - b1), here 3, so that the edge is at a
        curvature three times as large:

        >>> import jax.numpy as jnp, rodflow
        >>> for tx in rodflow.OPTIMIZERS["gd"](0.3), rodflow.heavy_ball(0.3, b1=0.5):
        ...     iteration = rodflow.Iteration(lambda w: w**2, tx)
        ...     print(f"{rodflow.nyquist_response(iteration, iteration.init(jnp.array(1.0))):.4f}")
        0.3000
        0.1000
    """
    _check_map(iteration)
    state = iteration.check(state)
    ones = jax.tree.map(jnp.ones_like, state.params)
    settled = Settling.at_present(iteration, state).settled(ones)
    return jax.tree.map(lambda x: 2 * x, settled.x.params)


def linear_response(iteration: AbstractIteration, state: PhaseState) -> PyTree[Array]:
    """Return the response r as `nyquist_response` does, but linearised about no gradient.

    There no gradient is clipped. Theory: docs/theory/edge.md.

    Args:
        iteration: The map of single steps.
        state: A point of its phase space.

    Returns:
        The response in units of parameters over gradient, of the structure of the parameters.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> from rodflow.curvature import linear_response
        >>> tx = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.5))
        >>> iteration = rodflow.Iteration(lambda w: w**2, tx)
        >>> state = iteration.init(jnp.array(1.0))  # with a gradient of 2, which is halved
        >>> for response in linear_response, rodflow.nyquist_response:
        ...     print(f"{response(iteration, state):.2f}")
        0.50
        0.25
    """
    ones = jax.tree.map(jnp.ones_like, state.params)
    return jax.tree.map(lambda x: 2 * x, oscillation(iteration, state, ones).params)


def oscillation(
    iteration: AbstractIteration,
    state: PhaseState,
    grads: PyTree[Array],
    growth: float | Float[Array, ""] = 0.0,
) -> PhaseState:
    """Return the oscillation x of phase space under the gradients (-1)^t exp(growth t) `grads`.

    The settled state is z[t] = still + (-1)^t exp(growth t) x. Auxiliary leaves and clocks stand as
    they do in `state`. The oscillation is exact to first order in `grads`, for a chain that acts on
    each element by itself. In the frame that alternates with the gradient x solves exp(growth) x =
    -x - B(x), with B the linear response of the increment: for growth 0, it is the rest point of
    the signed rod. Theory: docs/theory/edge.md.

    Args:
        iteration: The map of single steps.
        state: A point of its phase space.
        grads: The gradient at even times, of the structure of `params`.
        growth: The rate of growth per optimizer step.

    Returns:
        The oscillation, with None on the leaves that do not oscillate.

    Raises:
        ValueError: The map is of several updates (`Epoch`).

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> from rodflow.curvature import oscillation
        >>> iteration = rodflow.Iteration(lambda w: w**2, optax.sgd(0.5))
        >>> x = oscillation(iteration, iteration.init(jnp.array(1.0)), grads=jnp.array(2.0))
        >>> float(x.params)  # from +x to -x is a step of 0.5 * 2
        0.5
    """
    return Settling.begin(iteration, state).settled(grads, growth).x


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
        there, grads = start._present()
        oscillates = _are(iteration.parity(state.params), Parity.OSCILLATING)
        mirrored = jax.tree.map(lambda osc, z: -z if osc else z, oscillates, there)
        minus = jax.tree.map(jnp.negative, grads)
        respond = with_norms_held(iteration.respond, (there, grads), (mirrored, minus))
        return cls(start.iteration, start.state, start.x, start.memory, respond)

    def _present(self) -> tuple[PhaseState, PyTree]:
        """Return the state before a step with the present gradient, and that gradient.

        Momenta and parameters are as at present; with this gradient, the step ends with the
        auxiliary leaves at their present values.
        """
        grads = jax.grad(self.iteration.loss)(self.state.params)
        auxiliary = _are(self.iteration.parity(self.state.params), Parity.AUXILIARY)
        present = eqx.filter(self.state, auxiliary)

        def back(memory: PhaseState, _: None) -> tuple[PhaseState, None]:
            moved = self.iteration.respond(eqx.combine(memory, self.state), grads)
            return _earlier(present, memory, eqx.filter(moved, auxiliary)), None

        memory, _ = jax.lax.scan(back, present, length=_PROBE_ITERATIONS)
        return eqx.combine(memory, self.state), grads

    def explains(self) -> Bool[Array, ""]:
        """Return True if the linear response gives the step of the present gradient, to 5 %."""
        there, grads = self._present()
        oscillates = _are(self.iteration.parity(self.state.params), Parity.OSCILLATING)
        still, moving = self._still(self.memory), eqx.filter(there, oscillates)
        tangent = eqx.combine(moving, jax.tree.map(jnp.zeros_like, self.state))
        zeros = jax.tree.map(jnp.zeros_like, grads)
        _, linear = jax.jvp(self.respond, (still, zeros), (tangent, grads))
        actual = self.iteration.respond(there, grads)

        def close(a: Array, b: Array, z: Array) -> Array:
            unit = 8 * jnp.finfo(z.dtype).eps  # an increment is a difference, which is rounded
            return norm(a - b) <= _EXPLAINED * norm(a) + unit * norm(z)

        found = [eqx.filter(tree, oscillates) for tree in (actual, linear, there)]
        return jnp.all(jnp.stack(jax.tree.leaves(jax.tree.map(close, *found))))

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


def _check_map(iteration: object) -> None:
    """Raise a `ValueError` unless `iteration` is a map."""
    if not isinstance(iteration, AbstractIteration):
        raise ValueError(
            f"`iteration` is {shown(iteration)}; it must be a map, such as "
            "rodflow.Iteration(loss, tx)."
        )


def _earlier(present: PhaseState, memory: PhaseState, moved: PhaseState) -> PhaseState:
    """Return the memory from which a step would have ended at present, had it moved by `moved`."""
    return jax.tree.map(lambda a, m, g: a - g, present, memory, moved)


def _almost_zero(leaf: Array) -> Array:
    return jnp.asarray(jnp.finfo(leaf.dtype).tiny ** 0.9, leaf.dtype)  # no step makes it subnormal


def _are(parity: PhaseState, kind: Parity) -> PyTree[bool]:
    return jax.tree.map(lambda p: p is kind, parity)
