"""An epoch of minibatches as a map on phase space.

With minibatches the increment of a step depends on the batch, so on the clock, and the rod of steps
has no meaning: z[t+1] and z[t+2] are then not images under the same map. A fixed order of n batches
has a map that stays the same, the *epoch*,

    F = F_n o ... o F_1,        F_k(z): one optimizer step on the loss L_k of batch k

and every flow of a map is one of F, with the *epoch* as the unit of time. A seeded shuffle that is
drawn once is such an order; one that is drawn anew in each epoch is none before it repeats itself,
and is refused. The loss of the epoch is the mean of the L_k where the epoch begins.

**When do epochs oscillate?** The rod flow follows period-two oscillations, multipliers of F near
-1. Those of F are of a product of n step maps, not of one. On a least-squares fit by gradient
descent, step k multiplies the deviations by R_k = I - lr H_k.

- *All batches alike*, H_k = H: the multipliers are (1 - lr h)^n. At the edge of the steps, lr h =
  2, they are (-1)^n. For odd n the epoch oscillates. For **even n the multiplier is +1**: seen once
  an epoch, the iterates do not alternate but leave the valley's floor for one of its sides, as the
  *stable* flow of F does, and the rod flow cannot add anything (its x decays).
- *One sample a batch*, H_k = g_k g_k', lr |g_k|^2 = omega: the epoch is a sweep of successive
  over-relaxation on the kernel g_j'g_k, which converges if and only if omega < 2 (Ostrowski 1954,
  Reich 1949), and at omega = 2 every R_k is a reflection. A product of n of them has determinant
  (-1)^n on the span of the g_k: for odd n one multiplier is -1 always; for even n they are pairs
  exp(+-i phi), such as phi = twice the angle between g_1 and g_2 for n = 2, which is -1 only where
  **the batches have orthogonal gradients**. Pairs away from -1 leave as a rotation, which no
  period-two model follows.
- *Batches without common directions* (sorted data): each mode sees one R_k, the multiplier is
  1 - lr h_k and its edge lr h_k = 2 is that of the batch, n times sooner than that of the mean.

So the rod flow of an epoch helps where n is odd or batches differ; `jax.jacobian` of `step` tells.
Either flow has the look-back term, which matters more than for steps, since an epoch is n of them.

**What flips?** Under one full-batch gradient at the edge, second moments are blind to the sign of
the oscillation, because the mean gradient nearly vanishes. The gradients of single batches do not:
(g_k + d)^2 and (g_k - d)^2 differ by 4 g_k d. So every float leaf of the optimizer's state
oscillates here, for which the signed rod is exact; counters that advance by the same number in
every epoch are clocks, and what returns in every epoch to what it was is constant. The mini-step of
`optax.MultiSteps(tx, k)` is such a leaf if k divides n, although a map of single steps cannot have
it; with k = n this epoch is a step of `tx` on the mean of the losses, accumulated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from rodflow._checks import shown
from rodflow.maps.iteration import AbstractIteration, PhaseState
from rodflow.maps.minibatches import Minibatches
from rodflow.maps.parity import Parity, probe_parity


@final
class Epoch(AbstractIteration):
    """The map of one optimizer step on each of n minibatches in turn. A unit of time is an epoch.

    An evaluation of its gradient is one of each batch. Flows of the modes of a Hessian (central,
    Edge Flow, free energy) are refused: they rest on the response of a single step.

    Args:
        loss_fn: `Minibatches`, in the order of the steps.
        tx: As for `Iteration`; also `optax.MultiSteps` whose period divides n.
        placement: The sharding of each leaf of the parameters, see `placed`.

    Raises:
        ValueError: The loss is not `Minibatches`.

    Examples:
        Two batches, of which each pulls the parameter halfway to its own number:

        >>> import jax.numpy as jnp, optax, rodflow
        >>> batches = jnp.array([0.0, 1.0])
        >>> loss = rodflow.Minibatches(lambda w, batch: (w - batch) ** 2 / 2, batches)
        >>> epoch = rodflow.Epoch(loss, optax.sgd(0.5))
        >>> float(epoch.step(epoch.init(jnp.array(4.0))).params)
        1.5
    """

    def __check_init__(self) -> None:
        if not isinstance(self.loss_fn, Minibatches):
            raise ValueError(
                f"`loss_fn` is {shown(self.loss_fn)}; for an epoch it must be `Minibatches`."
            )

    @property
    def minibatches(self) -> Minibatches:
        """The loss of each batch, and the batches in their order."""
        assert isinstance(self.loss_fn, Minibatches)
        return self.loss_fn

    @property
    def updates(self) -> int:
        return self.minibatches.count

    def advance(self, state: PhaseState) -> tuple[Float[Array, ""], PhaseState]:
        """Return the loss at `state` over all batches, and the state after the epoch."""
        return self.loss(state.params), self._through(state, self._gradient)[0]

    def increment(self, state: PhaseState) -> PhaseState:
        """Return G(z) = F(z) - z, of the structure of `state`, per epoch."""
        return self._increment(state, self._gradient)

    def respond(self, state: PhaseState, grads: PyTree) -> PhaseState:
        """Return the increment of an epoch if the gradient of every batch were `grads`."""
        return self._increment(state, lambda params, batch: grads)

    def parity(self, params: PyTree) -> PhaseState:
        """Return the parity of every leaf: all that is float and not constant oscillates."""
        found = probe_parity(self.tx, params, self.updates, self.placement)
        return PhaseState(
            jax.tree.map(lambda _: Parity.OSCILLATING, params),
            jax.tree.map(lambda p: Parity.OSCILLATING if p is Parity.AUXILIARY else p, found),
        )

    def _gradient(self, params: PyTree, batch: PyTree) -> PyTree:
        return jax.grad(lambda w: self._batch_loss(w, batch))(params)

    def _batch_loss(self, params: PyTree, batch: PyTree) -> Float[Array, ""]:
        return self.minibatches.batch_loss(self.hold(params), batch)

    def _through(
        self, state: PhaseState, gradient: Callable[[PyTree, PyTree], PyTree]
    ) -> tuple[PhaseState, PyTree]:
        """Return the state after the epoch, and the sum of the updates of the parameters."""

        def step(carry: tuple[PhaseState, PyTree], batch: PyTree) -> tuple[Any, None]:
            state, moved = carry
            updates, opt_state = self._update(
                state, gradient(state.params, batch), lambda: self._batch_loss(state.params, batch)
            )
            after = PhaseState(optax.apply_updates(state.params, updates), opt_state)
            moved = jax.tree.map(lambda m, u: m + u.astype(m.dtype), moved, updates)
            return (after, moved), None

        still = jax.tree.map(jnp.zeros_like, state.params)
        return jax.lax.scan(step, (state, still), self.minibatches.batches)[0]

    def _increment(
        self, state: PhaseState, gradient: Callable[[PyTree, PyTree], PyTree]
    ) -> PhaseState:
        after, params = self._through(state, gradient)
        return self._moved(state, params, after.opt_state)
