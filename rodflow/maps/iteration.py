"""An optimizer as a map on phase space.

A full-batch optimizer is a map on its phase space z = (parameters w, optimizer state):

    z[t+1] = F(z[t]),        G(z) = F(z) - z        (the increment of one step)

Any Optax transformation gives an F: take ``g = grad(loss)(w)``, call ``update(g, state, w)``, apply
the updates. Integer leaves of the state (step counters) are carried as floats, the *clocks*, so
that bias corrections and schedules become smooth functions of time (MATH.md section 1).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from rodflow._checks import check_scalar
from rodflow.maps.parity import Parity, as_clock, probe_parity
from rodflow.maps.placement import Placement, place, placement_of


class PhaseState(NamedTuple):
    """A point of phase space: the parameters, and the optimizer's state with float clocks."""

    params: PyTree
    opt_state: PyTree


class Iteration:
    """An Optax transformation and a loss, as a map on phase space.

    Arguments:

    - `loss`: params pytree -> scalar; deterministic (the full batch is closed over).
    - `tx`: any `optax.GradientTransformation` whose update takes gradients, state and parameters.
        It may be built from traced hyperparameters, inside `jit` or `vmap`.

    Immutable but for one memory: the parity of the parameters last given to `init`, and how they
    are sharded. Source: MATH.md sections 1 and 6.
    """

    def __init__(
        self, loss: Callable[[PyTree], Float[Array, ""]], tx: optax.GradientTransformation
    ) -> None:
        self._loss = loss
        self.tx = tx
        self.updates = 1  # of the optimizer in one application of the map
        self._latest: PhaseState | None = None
        self.place(None)

    def loss(self, params: PyTree) -> Float[Array, ""]:
        """The loss at `params`, which it holds to where the parameters given to `init` are."""
        return self._loss(self._placed(params))

    def init(self, params: PyTree) -> PhaseState:
        """The initial point of phase space at `params`; its parity is known from here on.

        **Raises** `ValueError` for parameters that are not real floats, for a loss that is not a
        finite scalar there (a traced loss is not checked: it becomes a run that diverged at once),
        and for a transformation that is no smooth map on phase space.
        """
        params = jax.tree.map(jnp.asarray, params)
        _check_params(params)
        self.place(placement_of(params))
        _check_loss(self._loss, params)
        self._latest = PhaseState(
            jax.tree.map(lambda _: Parity.OSCILLATING, params), self._probe(params)
        )
        return PhaseState(params, jax.tree.map(as_clock, self.tx.init(params)))

    def place(self, placement: Placement | None) -> None:
        """From here on parameters are where `placement` says: for a program yet to be traced."""
        self._placement: Placement | None = placement
        # Traced once for all that follow the iterates, and nothing but its operations after that.
        self._value_and_grad = jax.jit(jax.value_and_grad(self.loss), inline=True)

    @property
    def parity(self) -> PhaseState:
        """A `PhaseState` of `Parity` leaves, for the parameters last given to `init`."""
        if self._latest is None:
            raise ValueError("The parity of an Iteration is known once `init(params)` was called.")
        return self._latest

    def advance(self, state: PhaseState) -> tuple[Float[Array, ""], PhaseState]:
        """The loss at `state` and the next iterate F(z), from one gradient evaluation."""
        loss, grads = self._value_and_grad(state.params)
        updates, opt_state = self._update(state, grads)
        return loss, PhaseState(optax.apply_updates(state.params, updates), opt_state)

    def step(self, state: PhaseState) -> PhaseState:
        """F(z): the next iterate, as Optax computes it."""
        return self.advance(state)[1]

    def increment(self, state: PhaseState) -> PhaseState:
        """G(z) = F(z) - z, of the structure of `state`, per optimizer step."""
        return self.respond(state, self._value_and_grad(state.params)[1])

    def respond(self, state: PhaseState, grads: PyTree) -> PhaseState:
        """The increment of one step from `state` if the gradient there were `grads`."""
        updates, opt_state = self._update(state, grads)
        # The update itself is the increment; (w + u) - w would round it once more.
        params = jax.tree.map(lambda p, u: u.astype(p.dtype), state.params, updates)
        return PhaseState(params, jax.tree.map(jnp.subtract, opt_state, state.opt_state))

    def _probe(self, params: PyTree) -> PyTree[Parity]:
        return probe_parity(self.tx, params, self.updates, self._placement)

    def _placed(self, params: PyTree) -> PyTree:
        return params if self._placement is None else place(params, self._placement)

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


def _check_loss(loss: Callable[[PyTree], Float[Array, ""]], params: PyTree) -> None:
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
    value = jax.jit(loss)(params)
    # A loss that closes over the tracers of an outer transformation stays abstract.
    if not isinstance(value, Tracer) and not np.isfinite(value):
        raise ValueError(f"The loss at the start is {value}; it must be finite.")
