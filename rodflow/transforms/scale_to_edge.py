r"""Learning rates that hold training at the edge: Curvature Dynamics Aware Tuning (CDAT).

Along the direction u of a step the loss is, to second order, f(w) + lr g'u + lr^2 u'Hu / 2. It is
smallest at lr = -g'u / u'Hu, and as high as before at twice that rate, which is the edge of
stability of this step: its directional sharpness is 1 there. CDAT takes sigma times the greedy
rate, from averages of numerator and denominator, and sigma = 2 keeps training at the edge instead
of behind it, where the sharpness would go on to grow (Roulet et al. 2024, arXiv 2407.06183).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rodflow._checks import check_at_least, check_below


class ScaleToEdgeState(NamedTuple):
    """State for :func:`rodflow.scale_to_edge`.

    Attributes:
        learning_rate: The rate of the last step, a scalar; 0 before the first.
        numerator: The average of the descent of the loss per unit of learning rate, -g'u.
        denominator: The average of the curvature along the direction, :math:`|u'Hu|`.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> state = rodflow.scale_to_edge().init(jnp.ones(2))
        >>> print(state.learning_rate, state.numerator, state.denominator)
        0.0 0.0 0.0
    """

    learning_rate: jax.Array
    numerator: jax.Array
    denominator: jax.Array


def scale_to_edge(
    sigma: jax.typing.ArrayLike = 2.0,
    decay: jax.typing.ArrayLike = 0.9,
    eps: jax.typing.ArrayLike = 1e-30,
) -> optax.GradientTransformationExtraArgs:
    r"""Scale updates to the edge of stability of the step that they make.

    The last of a chain, as the line searches of Optax are: the updates that reach it are a
    direction of descent :math:`u_t`, such as those of ``optax.adam(1.0)``. With the gradient
    :math:`g_t` and Hessian :math:`H_t` of ``value_fn`` at the parameters,

    .. math::

      \begin{align*}
        n_t &\leftarrow \delta n_{t-1} + (1-\delta) \max(-g_t^\top u_t, 0) \\
        d_t &\leftarrow \delta d_{t-1} + (1-\delta) |u_t^\top H_t u_t| \\
        u_t &\leftarrow \alpha_t u_t, \quad \alpha_t = \sigma \frac{n_t}{d_t + \varepsilon}
      \end{align*}

    where the averages start from their first values. One step costs two derivatives along the
    direction, about as much as a gradient. The unit of the rate is that of a learning rate of the
    chain before. With small batches the rate is too large, since a batch's own gradient
    descends steeply on that batch: the authors tune :math:`\sigma` below 2 there.

    Args:
      sigma: The rate in units of the greedy one: 1 descends most in each step, 2 stays at the edge.
      decay: Exponential decay rate of the averages of numerator and denominator, in [0, 1).
      eps: A small constant added to the denominator, in units of loss.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object, whose update takes
      ``value_fn``, the loss as a function of the parameters (on the present batch), and finds the
      learning rate of the step in its state: ``optax.tree.get(opt_state, "learning_rate")``.

    Raises:
      ValueError: ``sigma`` or ``eps`` is negative, ``decay`` is outside of [0, 1), or (at an
        update) ``params`` or ``value_fn`` is None.

    Examples:
      On a parabola of curvature 4 the edge of gradient descent is at 2 / 4:

      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> import rodflow
      >>> loss = lambda w: 2 * w**2
      >>> tx = optax.chain(optax.sgd(1.0), rodflow.scale_to_edge(sigma=1.9))
      >>> w, state = jnp.array(1.0), tx.init(jnp.array(1.0))
      >>> updates, state = tx.update(jax.grad(loss)(w), state, w, value_fn=loss)
      >>> print(f"{optax.tree.get(state, 'learning_rate'):.3f}")
      0.475

    References:
      Roulet et al, `Stepping on the Edge: Curvature Aware Learning Rate Tuners
      <https://arxiv.org/abs/2407.06183>`_, 2024. Theory: docs/theory/edge.md.
    """
    check_at_least("sigma", sigma, 0)
    check_at_least("decay", decay, 0)
    check_below("decay", decay, 1)
    check_at_least("eps", eps, 0)

    def init_fn(params):
        dtype = jnp.result_type(*jax.tree.leaves(params), jnp.float32)
        return ScaleToEdgeState(*(jnp.zeros((), dtype) for _ in ScaleToEdgeState._fields))

    def update_fn(updates, state, params=None, *, value_fn=None, **extra_args):
        del extra_args
        if params is None:
            raise ValueError("`params` is None; the edge is that at the parameters.")
        if value_fn is None:
            raise ValueError("`value_fn` is None; it must be the loss, a function of `params`.")
        dtype = state.learning_rate.dtype

        def slope(w):
            return jax.jvp(value_fn, (w,), (updates,))[1]

        along, bend = (x.astype(dtype) for x in jax.jvp(slope, (params,), (updates,)))
        # Both are zero only before the first step, where an average has no past.
        kept = jnp.where((state.numerator == 0) & (state.denominator == 0), 0, decay).astype(dtype)
        numerator = kept * state.numerator + (1 - kept) * jnp.maximum(-along, 0)
        denominator = kept * state.denominator + (1 - kept) * jnp.abs(bend)
        rate = sigma * numerator / (denominator + jnp.asarray(eps, dtype))
        rate = jnp.asarray(rate, dtype)
        updates = jax.tree.map(lambda u: (rate * u).astype(u.dtype), updates)
        return updates, ScaleToEdgeState(rate, numerator, denominator)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
