r"""Second moments first: a warmup that measures before it moves, for any optimizer.

For the first n steps parameters and first moments stay as they are while second moments gather
gradients; from then on the optimizer runs as it is. With Adam and n = 2000 this is the *Adam-2k*
of Liu et al. 2020 (arXiv 1908.03265, section 3), by which they argue that the variance of early
second moments is what warmup cures.

The parity probe (`rodflow.maps.parity`) finds the leaves of a state that are first moments: those
that flip with the sign of the gradient are frozen. Second moments, counters and schedules go on, so
that the bias correction of an average matches the gradients it has seen. Where first and second
moments share one counter, as in Adam, the bias correction of the first is over by the time the
momentum starts from zero, so that the first 1 / (1 - b1) steps are a ramp, as in the authors' code.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rodflow._checks import check_at_least
from rodflow.maps.parity import Parity, probe_parity
from rodflow.transforms._defaults import ADAM_B2, B1, EPS


class SecondMomentsFirstState(NamedTuple):
    """State for a transformation whose second moments are updated first.

    Attributes:
        count: The number of steps so far: an int32 scalar, or a float one as the clock of a flow.
        inner_state: The state of the optimizer within.

    Examples:
        >>> import jax.numpy as jnp, optax, rodflow
        >>> tx = rodflow.second_moments_first(optax.sgd(0.1, momentum=0.9), 2)
        >>> _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
        >>> print(state.count, state.inner_state[0].trace)  # the momentum waits
        1 [0.]
    """

    count: jax.typing.ArrayLike
    inner_state: optax.OptState


def second_moments_first(
    inner: optax.GradientTransformation, num_steps: jax.typing.ArrayLike
) -> optax.GradientTransformationExtraArgs:
    r"""Update nothing but second moments, counters and schedules for a number of steps.

    With :math:`(u_t, s_t)` the updates and state that ``inner`` computes, :math:`n` the argument
    ``num_steps`` and :math:`s^-` the leaves of the state that change sign with the gradients,

    .. math::

      t \le n: \quad u_t \leftarrow 0, \quad s_t^- \leftarrow s_{t-1}^-

    Theory: docs/theory/parity.md.

    Args:
      inner: An optimizer, or a part of one.
      num_steps: The number of first steps, which may be traced; at most a million where the flow of
        the result is wanted.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object.

    Raises:
      ValueError: ``num_steps`` is negative, or (at the first update) the leaves of the state of
        ``inner`` cannot be told apart, see :func:`rodflow.maps.parity.probe_parity`.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from rodflow.transforms import second_moments_first
      >>> tx = second_moments_first(optax.sgd(1.0, momentum=0.5), num_steps=1)
      >>> state = tx.init(jnp.array(0.0))
      >>> for _ in range(3):
      ...   updates, state = tx.update(jnp.array(1.0), state)
      ...   print(updates)
      0.0
      -1.0
      -1.5

    References:
      Liu et al, `On the Variance of the Adaptive Learning Rate and Beyond
      <https://arxiv.org/abs/1908.03265>`_, 2020
    """
    check_at_least("num_steps", num_steps, 0)
    with_extra_args = optax.with_extra_args_support(inner)

    def init_fn(params):
        return SecondMomentsFirstState(jnp.zeros([], jnp.int32), inner.init(params))

    def update_fn(updates, state, params=None, **extra_args):
        parity = probe_parity(inner, updates if params is None else params)
        updates, inner_state = with_extra_args.update(
            updates, state.inner_state, params, **extra_args
        )
        moves = state.count >= num_steps
        updates = jax.tree.map(lambda u: jnp.where(moves, u, jnp.zeros_like(u)), updates)
        inner_state = jax.tree.map(
            lambda p, new, old: jnp.where(moves, new, old) if p is Parity.OSCILLATING else new,
            parity,
            inner_state,
            state.inner_state,
        )
        return updates, SecondMomentsFirstState(optax.safe_increment(state.count), inner_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def adam_2k(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = B1,
    b2: jax.typing.ArrayLike = ADAM_B2,
    eps: jax.typing.ArrayLike = EPS,
    num_steps: jax.typing.ArrayLike = 2000,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam whose parameters and momentum wait for its second moment.

    With the state :math:`(m_0, \nu_0) = (0, 0)` and :math:`n` the argument ``num_steps``,

    .. math::

      \begin{align*}
        \nu_t &\leftarrow \beta_2 \cdot \nu_{t-1} + (1-\beta_2) \cdot {g_t}^2 \\
        t \le n: \quad m_t &\leftarrow m_{t-1}, \quad u_t \leftarrow 0 \\
        t > n: \quad m_t &\leftarrow \beta_1 \cdot m_{t-1} + (1-\beta_1) \cdot g_t, \quad
        u_t \leftarrow -\alpha_t \cdot \frac{m_t / (1-\beta_1^t)}
          {\sqrt{\nu_t / (1-\beta_2^t)} + \varepsilon}.
      \end{align*}

    Theory: docs/theory/published.md.

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations (the first
        ones included) with a scheduler, see :func:`optax.scale_by_learning_rate`.
      b1: Exponential decay rate to track the first moment of past gradients.
      b2: Exponential decay rate to track the second moment of past gradients.
      eps: A small constant added to the denominator, outside of the square root.
      num_steps: The number of first steps in which only the second moment is updated.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import adam_2k
      >>> solver = adam_2k(learning_rate=1.0, num_steps=2)
      >>> opt_state = solver.init(jnp.array(0.0))
      >>> for _ in range(4):
      ...   updates, opt_state = solver.update(jnp.array(2.0), opt_state)
      ...   print(f"{updates:.3f}")
      0.000
      0.000
      -0.369
      -0.552

    References:
      Liu et al, `On the Variance of the Adaptive Learning Rate and Beyond
      <https://arxiv.org/abs/1908.03265>`_, 2020

    .. seealso:: :func:`rodflow.second_moments_first`, :func:`optax.adam`.
    """
    return second_moments_first(optax.adam(learning_rate, b1, b2, eps), num_steps)
