"""Minibatch training as a random map on phase space.

With a batch b drawn in every step an optimizer is a random map,

    z[t+1] = z[t] + G(z[t], b[t]),        G(z, b) = Gbar(z) + n(z, b)

with the mean Gbar = E_b G and the noise n, E n = 0. Two batches give a sample of the noise without
the mean,

    (G(z, b) - G(z, b')) / sqrt 2

whose covariance is that of n, by one gradient of each batch.

The theory of `rodflow.StochasticRod` is about *independent* batches: the batch of a step is a set
of distinct samples, drawn anew, so that one as large as the data is the full batch, without noise.
An epoch that is shuffled and divided into batches (no replacement until all samples were seen) has
batches that are correlated within the epoch: their noise sums to zero over it. Over times that are
short in comparison with an epoch the two are alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rodflow.linalg.trees import without_empty_tuples
from rodflow.maps._data import checked_data, takes_key
from rodflow.maps._loss import check_loss, check_params
from rodflow.maps._transformation import needs_of
from rodflow.maps.batches import Batch, BatchLoss
from rodflow.maps.iteration import AbstractIteration, Iteration, PhaseState
from rodflow.maps.parity import Parity, as_clock
from rodflow.maps.placement import Placement


@final
class MinibatchIteration(AbstractIteration):
    """The random map of one optimizer step on a batch. A unit of time is a step.

    The methods of `AbstractIteration` are those of the full batch, the mean of the loss over all
    data; the methods below are about batches. Theory: docs/theory/stochastic.md.

    Args:
        batch_loss: A function of parameters and a batch, or of parameters, a batch and a key for
            dropout or augmentation, which is noise too. It returns the mean over the samples.
        data: A pytree of arrays whose first axis is that of the samples; or a function that draws
            a batch from a key, for data too large for memory, which has no full batch.
        batch_size: The number of samples in a batch; None if a function draws them.
        tx: Any Optax transformation whose update takes gradients, state and parameters.
        replacement: True for independent batches, which the theory of the stochastic rod is about;
            False to shuffle and divide the data in every epoch. The samples of a batch are
            distinct either way.
        placement: The sharding of each leaf of the parameters, see `placed`.

    Raises:
        ValueError: The loss takes other arguments, the data are no arrays of equally many samples,
            or the batch size does not fit to them.

    Examples:
        >>> import jax, jax.numpy as jnp, optax, rodflow
        >>> loss = lambda w, batch: jnp.mean((w - batch) ** 2) / 2
        >>> iteration = rodflow.MinibatchIteration(loss, jnp.arange(4.0), 2, optax.sgd(0.5))
        >>> state = iteration.init(jnp.array(5.5))
        >>> float(iteration.step(state).params)  # of the full batch, whose mean is 1.5
        3.5
        >>> batch = iteration.batch(jax.random.key(0), 0)
        >>> value, after = iteration.advance_on(state, batch)
        >>> bool(after.params == (5.5 + jnp.mean(batch.data)) / 2)
        True
    """

    replacement: bool = eqx.field(static=True, default=True)

    def __init__(
        self,
        batch_loss: Callable[..., Float[Array, ""]],
        data: PyTree,
        batch_size: int | None,
        tx: Any,
        *,
        replacement: bool = True,
        placement: Placement | None = None,
    ) -> None:
        keyed = takes_key(batch_loss)
        if not callable(data):
            data = checked_data(data, batch_size, replacement)
        elif batch_size is not None or not replacement:
            raise ValueError(
                f"`data` is a function that draws batches, but `batch_size` is {batch_size} and "
                f"`replacement` is {replacement}; they must be None and True then."
            )
        self.loss_fn = BatchLoss(batch_loss, data, batch_size, keyed)
        self.tx = tx
        self.placement = placement
        self.replacement = replacement

    @property
    def batch_loss(self) -> BatchLoss:
        """The loss of a batch, and the data."""
        assert isinstance(self.loss_fn, BatchLoss)
        return self.loss_fn

    @property
    def updates(self) -> int:
        return 1

    @property
    def full(self) -> Iteration:
        """The map of a step on the full batch."""
        return Iteration(self.loss_fn, self.tx, self.placement)

    def at(self, placement: Placement | None) -> MinibatchIteration:
        loss = self.batch_loss
        return MinibatchIteration(
            loss.function,
            loss.data,
            loss.batch_size,
            self.tx,
            replacement=self.replacement,
            placement=placement,
        )

    def init(self, params: PyTree) -> PhaseState:
        check_params(params)
        params = jax.tree.map(jnp.asarray, without_empty_tuples(params))
        first = self.draw(jax.random.key(0))
        check_loss(eqx.Partial(_loss_of, self.batch_loss, first), params)
        if needs_of(self.tx, params).value:
            raise ValueError(
                "The update of `tx` asks for the value of the loss; with minibatches it must take "
                "gradients, state and parameters only."
            )
        self.placed(params).parity(params)
        return PhaseState(
            params, jax.tree.map(as_clock, without_empty_tuples(self.tx.init(params)))
        )

    def advance(self, state: PhaseState) -> tuple[Float[Array, ""], PhaseState]:
        return self.full.advance(state)

    def increment(self, state: PhaseState) -> PhaseState:
        return self.full.increment(state)

    def respond(self, state: PhaseState, grads: PyTree) -> PhaseState:
        return self.full.respond(state, grads)

    def parity(self, params: PyTree) -> PhaseState:
        return self.full.parity(params)

    def draw(self, key: PRNGKeyArray) -> Batch:
        """Draw a batch, independent of those of other keys."""
        samples, noise = jax.random.split(key)
        loss = self.batch_loss
        if callable(loss.data):
            return Batch(loss.data(samples), noise)
        if loss.batch_size == loss.samples:  # in its order, so that nothing is rounded anew
            return Batch(loss.data, noise)
        order = jax.random.permutation(samples, loss.samples)[: loss.batch_size]
        return Batch(jax.tree.map(lambda x: x[order], loss.data), noise)

    def batch(self, key: PRNGKeyArray, step: int | Int[Array, ""]) -> Batch:
        """Return the batch of a step of the run that `key` stands for, as `replacement` says."""
        if self.replacement:
            return self.draw(jax.random.fold_in(key, step))
        loss = self.batch_loss
        size = loss.batch_size or 1
        epoch, place = jnp.divmod(step, loss.samples // size)
        samples, noise = jax.random.split(jax.random.fold_in(key, epoch))
        order = jax.random.permutation(samples, loss.samples)
        order = jax.lax.dynamic_slice_in_dim(order, place * size, size)
        return Batch(jax.tree.map(lambda x: x[order], loss.data), jax.random.fold_in(noise, place))

    def advance_on(self, state: PhaseState, batch: Batch) -> tuple[Float[Array, ""], PhaseState]:
        """Return the loss of `batch` at `state`, and the iterate after a step on it."""
        return self._on(batch).advance(state)

    def increment_on(self, state: PhaseState, batch: Batch) -> PhaseState:
        """Return G(z, b), of the structure of `state`, from one gradient of the batch."""
        return self._on(batch).increment(state)

    def mean_increment(self, state: PhaseState, key: PRNGKeyArray) -> PhaseState:
        """Return the mean of G(z, b) over batches into which the data are divided at random.

        It costs as much as a full gradient, with one batch in memory. Where G is linear in the
        gradient it is the full batch's G(z), without noise; second moments get the mean of the
        squared gradients of batches, not the square of their mean. Samples that are left over are
        a smaller batch, of smaller weight.
        """
        loss = self.batch_loss
        shuffle, noise = jax.random.split(key)
        one = loss.batch_size == loss.samples
        order = None if one else jax.random.permutation(shuffle, loss.samples)
        whole, rest = loss.parts(order)
        count = jax.tree.leaves(whole)[0].shape[0]

        def on(data: PyTree, place: int | Array) -> PhaseState:
            return self.increment_on(state, Batch(data, jax.random.fold_in(noise, place)))

        if count == 1 and rest is None:
            return on(jax.tree.map(lambda x: x[0], whole), 0)

        def add(total: PhaseState, at: tuple[PyTree, Array]) -> tuple[PhaseState, None]:
            return jax.tree.map(jnp.add, total, on(*at)), None

        zero = jax.tree.map(jnp.zeros_like, state)
        total, _ = jax.lax.scan(add, zero, (whole, jnp.arange(count)))
        mean = jax.tree.map(lambda x: x / count, total)
        if rest is None:
            return mean
        share = (loss.samples % (loss.batch_size or 1)) / loss.samples
        return jax.tree.map(lambda a, b: (1 - share) * a + share * b, mean, on(rest, count))

    def noise(self, state: PhaseState, key: PRNGKeyArray) -> PhaseState:
        """Return a sample of the noise of a step, (G(z, b) - G(z, b')) / sqrt 2.

        It has None on leaves that do not oscillate, as second moments.
        """
        a, b = (self.increment_on(state, self.draw(k)) for k in jax.random.split(key))
        oscillates = jax.tree.map(lambda p: p is Parity.OSCILLATING, self.parity(state.params))
        a, b = (eqx.filter(x, oscillates) for x in (a, b))
        return jax.tree.map(lambda a, b: (a - b) / 2**0.5, a, b)

    def _on(self, batch: Batch) -> Iteration:
        return Iteration(eqx.Partial(_loss_of, self.batch_loss, batch), self.tx, self.placement)


def _loss_of(loss: BatchLoss, batch: Batch, params: PyTree) -> Float[Array, ""]:
    return loss.of(params, batch)
