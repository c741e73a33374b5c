r"""Inverse-free Shampoo: a Kronecker-factored curvature without inverses and matrix roots.

A gradient matrix G, the mean over a batch of size B, is preconditioned by two factors,

    u = C C' G K K'

which learn the inverse curvature by matrix products alone (see `_kronecker_factors`): nothing is
inverted, no matrix root or decomposition is taken, and all of it runs in bfloat16. The only root
is that of a norm, a scalar. As in root-free RMSProp (see `root_free_rms`) the preconditioner is 1
at first, and the update a Newton step in units of the parameters.

In the rod flow, the factors and their momenta are auxiliary variables, as they are even in G. The
edge of stability is where the top eigenvalue of P^-1 H, with P^-1 = C C' (x) K K', reaches
2 (1 + b) / lr for momentum b in trace form. As P is not diagonal, the elementwise probe of the
response does not apply, and `rodflow.effective_sharpness` needs `elementwise=False`.

Lin et al. 2024 (arXiv 2402.03496), figure 3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from rodflow._checks import check_at_least
from rodflow.transforms._kronecker_factors import init_factors, learn, precondition

_MOMENTUM = 0.9
_FACTOR_LEARNING_RATE = 1e-2
_FACTOR_MOMENTUM = 0.5
_DAMPING = 1e-3
_MAX_SIZE = 1024


class ScaleByIfShampooState(NamedTuple):
    """State for the inverse-free Shampoo algorithm.

    Attributes:
        count: The number of steps so far: an int32 scalar, or a float one as the clock of a flow.
        factors: A tuple of `Factor`, one for each axis, in place of each leaf of the parameters.

    Examples:
        >>> import jax.numpy as jnp, rodflow
        >>> state = rodflow.scale_by_if_shampoo(batch_size=1).init(jnp.zeros((3, 2)))
        >>> [factor.matrix.shape for factor in state.factors]
        [(3, 3), (2, 2)]
    """

    count: jax.typing.ArrayLike
    factors: PyTree


def scale_by_if_shampoo(
    batch_size: jax.typing.ArrayLike,
    factor_learning_rate: jax.typing.ArrayLike = _FACTOR_LEARNING_RATE,
    factor_momentum: jax.typing.ArrayLike = _FACTOR_MOMENTUM,
    damping: jax.typing.ArrayLike = _DAMPING,
    update_interval: jax.typing.ArrayLike = 1,
    max_size: int = _MAX_SIZE,
    factor_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescale updates according to the inverse-free Shampoo algorithm.

    See :func:`rodflow.if_shampoo` for the equations. The state holds each factor with its momentum
    and, in types narrower than float32, its rounding error: 2 or 3 numbers for each entry. A factor
    has n x n entries for an axis of length n, or n if that is longer than ``max_size``.

    Args:
      batch_size: Number of samples that a gradient is the mean over; 1 if it is a sum.
      factor_learning_rate: Step size :math:`c` of the factors.
      factor_momentum: Exponential decay rate :math:`a` of the factors' Riemannian momentum.
      damping: Number that is added to the curvature, :math:`\lambda`.
      update_interval: Number of steps from one update of the factors to the next.
      max_size: Length beyond which an axis has a diagonal factor. It is a Python integer, as shapes
        depend on it: a static argument of :func:`optax.inject_hyperparams`.
      factor_dtype: The dtype of factors, of their momenta and of all products; that of the
        parameters by default.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object.

    Raises:
      ValueError: ``batch_size``, ``update_interval`` or ``max_size`` is below 1, ``max_size``
        is not a Python integer, or the factors would not be real floats.

    Examples:
      >>> import jax.numpy as jnp
      >>> from rodflow.transforms import scale_by_if_shampoo
      >>> tx = scale_by_if_shampoo(batch_size=1, factor_learning_rate=0.5, factor_momentum=0.0)
      >>> grads = jnp.diag(jnp.array([1.0, 3.0]))
      >>> updates, state = tx.update(grads, tx.init(grads))  # the steep direction is shortened
      >>> print('{:.3f} {:.3f}'.format(updates[0, 0], updates[1, 1]))
      1.314 0.195
    """
    check_at_least("batch_size", batch_size, 1)
    check_at_least("update_interval", update_interval, 1)
    if not isinstance(max_size, int):
        raise ValueError(f"`max_size` is {max_size}; it must be a Python integer, a static one.")
    check_at_least("max_size", max_size, 1)

    def init_fn(params):
        factors = jax.tree.map(lambda p: init_factors(p, max_size, factor_dtype), params)
        return ScaleByIfShampooState(count=jnp.zeros([], jnp.int32), factors=factors)

    def update_fn(updates, state, params=None, **extra_args):
        del params, extra_args
        hyperparameters = batch_size, factor_learning_rate, factor_momentum, damping
        factors = jax.lax.cond(
            # An inequality, so that a flow, whose clock is between the steps, learns as often.
            state.count % update_interval < 1,
            lambda: jax.tree.map(
                lambda g, factors: learn(g, factors, *hyperparameters), updates, state.factors
            ),
            lambda: state.factors,
        )
        updates = jax.tree.map(precondition, updates, factors)
        return updates, ScaleByIfShampooState(optax.safe_increment(state.count), factors)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def if_shampoo(
    learning_rate: optax.ScalarOrSchedule,
    batch_size: jax.typing.ArrayLike,
    momentum: jax.typing.ArrayLike = _MOMENTUM,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    factor_learning_rate: jax.typing.ArrayLike = _FACTOR_LEARNING_RATE,
    factor_momentum: jax.typing.ArrayLike = _FACTOR_MOMENTUM,
    damping: jax.typing.ArrayLike = _DAMPING,
    update_interval: jax.typing.ArrayLike = 1,
    max_size: int = _MAX_SIZE,
    factor_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""The inverse-free Shampoo optimizer.

    Shampoo without inverses, matrix roots or decompositions. With :math:`\alpha_t` the learning
    rate, :math:`B, b, \kappa, c, a, \lambda` the arguments ``batch_size``, ``momentum``,
    ``weight_decay``, ``factor_learning_rate``, ``factor_momentum`` and ``damping``, and the state
    :math:`(C, K, m_C, m_K, d) = (I, I, 0, 0, 0)` at first, the updates :math:`u` of a
    :math:`p \times q` matrix :math:`w` with gradient :math:`G` are

    .. math::

      \begin{align*}
        A_C &\leftarrow \tfrac{1}{2} \left[ \tfrac{B}{q} C^T G K K^T G^T C
          + \tfrac{\lambda}{q} \mathrm{tr}(K^T K) \, C^T C - I \right], \quad
        m_C \leftarrow a \cdot m_C + (1-a) \cdot A_C \\
        C &\leftarrow C - c \cdot C m_C / \max(1, \|m_C\|_F) \qquad
          \text{(likewise } K \text{, with } p, G^T \text{ for } q, G \text{)} \\
        d &\leftarrow b \cdot d + C C^T G K K^T + \kappa w, \qquad
        u \leftarrow -\alpha_t \cdot d.
      \end{align*}

    Theory: docs/theory/edge.md.

    Args:
      learning_rate: A global scaling factor, either fixed or evolving along iterations with a
        scheduler, see :func:`optax.scale_by_learning_rate`.
      batch_size: Number of samples that a gradient is the mean over; 1 if it is a sum.
      momentum: Decay rate of the sum of past directions.
      weight_decay: Strength of the weight decay, which passes through the momentum.
      factor_learning_rate: Step size of the factors.
      factor_momentum: Exponential decay rate of the factors' Riemannian momentum.
      damping: Number that is added to the curvature.
      update_interval: Number of steps from one update of the factors to the next.
      max_size: Length beyond which an axis has a diagonal factor, see
        :func:`rodflow.scale_by_if_shampoo`.
      factor_dtype: The dtype of the factors; that of the parameters by default.

    Returns:
      The corresponding :class:`optax.GradientTransformationExtraArgs`.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from rodflow.transforms import if_shampoo
      >>> def f(x): return jnp.sum(x ** 2)  # simple quadratic function
      >>> solver = if_shampoo(learning_rate=0.05, batch_size=1)
      >>> params = jnp.array([[1., 2.], [3., 4.]])
      >>> opt_state = solver.init(params)
      >>> for _ in range(2):
      ...   updates, opt_state = solver.update(jax.grad(f)(params), opt_state, params)
      ...   params = optax.apply_updates(params, updates)
      ...   print('Objective function: {:.2E}'.format(f(params)))
      Objective function: 2.45E+01
      Objective function: 1.62E+01

    References:
      Lin et al, `Can We Remove the Square-Root in Adaptive Gradient Methods? A Second-Order
      Perspective <https://arxiv.org/abs/2402.03496>`_, 2024

    .. seealso:: :func:`rodflow.rf_rmsprop`.
    """
    return optax.chain(
        scale_by_if_shampoo(
            batch_size,
            factor_learning_rate=factor_learning_rate,
            factor_momentum=factor_momentum,
            damping=damping,
            update_interval=update_interval,
            max_size=max_size,
            factor_dtype=factor_dtype,
        ),
        optax.add_decayed_weights(weight_decay),
        optax.trace(momentum),
        optax.scale_by_learning_rate(learning_rate),
    )
