r"""Second moments from the first gradient: no first steps at the mercy of a small memory.

An average that starts from zero is close to the first gradient only after its bias correction, and
far too small without. Kalra and Barkeshli 2024 (arXiv 2406.09405, "GI-Adam") start the second
moment of Adam from the square of the first gradient, and keep its bias correction: the first steps
are then shorter by sqrt(1 - b2^t), which is a warmup of the learning rate over 1 / (1 - b2) steps
that nobody has to tune, and keeps the effective sharpness low where it would be largest.

Here for any optimizer. The parity probe (`rodflow.maps.parity`) finds the second moments, the
leaves that do not change sign with the gradient. Each starts from the value at which the first
gradient would leave it, found by one Newton step (a Jacobian-vector product of the update), which
is exact for an average. Leaves that forget nothing, such as the sum of squares of Adagrad, have no
such value and start as they are. The maximum of AMSGrad would keep the shorter steps of the first
bias corrections for ever: it is no partner for this start.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from rodflow.maps.parity import Parity, probe_parity
from rodflow.transforms._defaults import ADAM_B2, B1, EPS


class FirstGradientState(NamedTuple):
    """State for a transformation whose second moments start from the first gradient.

    Attributes:
        count: The number of steps so far: an int32 scalar, or a float one as the clock of a flow.
        inner_state: The state of the optimizer within.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> tx = rodflow.gi_adam(learning_rate=1.0)
        >>> updates, state = tx.update(jnp.array(2.0), tx.init(jnp.array(0.0)))
        >>> print(state.count, state.inner_state[0].nu.round(2))  # the second moment is g^2
        1 4.0
    """

    count: jax.typing.ArrayLike
    inner_state: optax.OptState


def second_moments_from_gradient(
    inner: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    r"""Start second moments where the first gradient would leave them.

    With :math:`s^+` the leaves of the state that do not change sign with the gradients and
    :math:`F` their update by ``inner``, before the first step

    .. math::

      s^+_0 \leftarrow s^+ \quad \text{with} \quad s^+ = F(s^+, g_1)

    Args:
      inner: An optimizer, or a part of one.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object.

    Raises:
      ValueError: (At the first update) the leaves of the state of ``inner`` cannot be told apart,
        see :func:`rodflow.maps.parity.probe_parity`.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> import rodflow
      >>> tx = rodflow.second_moments_from_gradient(optax.scale_by_rms(decay=0.5))
      >>> _, state = tx.update(jnp.array(2.0), tx.init(jnp.array(0.0)))
      >>> print(optax.tree.get(state, "nu"))
      4.0

    References:
      Kalra and Barkeshli, `Why Warmup the Learning Rate? Underlying Mechanisms and Improvements
      <https://arxiv.org/abs/2406.09405>`_, 2024

    .. seealso:: :func:`rodflow.second_moments_first`, :func:`rodflow.gi_adam`.
    """
    with_extra_args = optax.with_extra_args_support(inner)

    def init_fn(params):
        return FirstGradientState(jnp.zeros([], jnp.int32), inner.init(params))

    def update_fn(updates, state, params=None, **extra_args):
        parity = probe_parity(inner, updates if params is None else params)
        second = jax.tree.map(lambda p: p is Parity.AUXILIARY, parity)
        before = eqx.filter(state.inner_state, second)

        def move(memory):
            whole = eqx.combine(memory, state.inner_state)
            return eqx.filter(
                with_extra_args.update(updates, whole, params, **extra_args)[1], second
            )

        def settle(memory):
            ones = jax.tree.map(jnp.ones_like, memory)
            moved, kept = jax.jvp(move, (memory,), (ones,))
            return jax.tree.map(_rest_point, memory, moved, kept)

        memory = jax.lax.cond(jnp.all(state.count == 0), settle, lambda memory: memory, before)
        updates, inner_state = with_extra_args.update(
            updates, eqx.combine(memory, state.inner_state), params, **extra_args
        )
        return updates, FirstGradientState(optax.safe_increment(state.count), inner_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def gi_adam(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = B1,
    b2: jax.typing.ArrayLike = ADAM_B2,
    eps: jax.typing.ArrayLike = EPS,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam whose second moment starts from the first gradient.

    With the state :math:`(m_0, \nu_0) = (0, g_1^2)`,

    .. math::

      \begin{align*}
        m_t &\leftarrow \beta_1 \cdot m_{t-1} + (1-\beta_1) \cdot g_t \\
        \nu_t &\leftarrow \beta_2 \cdot \nu_{t-1} + (1-\beta_2) \cdot {g_t}^2 \\
        u_t &\leftarrow -\alpha_t \cdot \frac{m_t / (1-\beta_1^t)}
          {\sqrt{\nu_t / (1-\beta_2^t)} + \varepsilon}.
      \end{align*}

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations with a
        scheduler, see :func:`optax.scale_by_learning_rate`.
      b1: Exponential decay rate to track the first moment of past gradients.
      b2: Exponential decay rate to track the second moment of past gradients.
      eps: A small constant added to the denominator, outside of the square root.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      The first step of Adam has the length of the learning rate, here it is shorter by
      :math:`\sqrt{1 - \beta_2}`:

      >>> import jax.numpy as jnp
      >>> import rodflow
      >>> tx = rodflow.gi_adam(learning_rate=1.0, b2=0.99)
      >>> updates, _ = tx.update(jnp.array(2.0), tx.init(jnp.array(0.0)))
      >>> print(f"{updates:.3f}")
      -0.100

    References:
      Kalra and Barkeshli, `Why Warmup the Learning Rate? Underlying Mechanisms and Improvements
      <https://arxiv.org/abs/2406.09405>`_, 2024

    .. seealso:: :func:`rodflow.second_moments_from_gradient`, :func:`optax.adam`.
    """
    return second_moments_from_gradient(optax.adam(learning_rate, b1, b2, eps))


def _rest_point(value: jax.Array, moved: jax.Array, kept: jax.Array) -> jax.Array:
    """Return where an average rests, from its next value and the share of it that is kept."""
    forgotten = 1 - kept
    forgets = forgotten > jnp.finfo(value.dtype).eps
    rest = value + (moved - value) / jnp.where(forgets, forgotten, 1)
    return jnp.where(forgets, rest, value).astype(value.dtype)
