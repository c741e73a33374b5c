r"""Meters around any optimizer: readings of a training loop in the state of its transformation.

`monitored(tx)` hands to `tx` what it is given and returns the updates of `tx` as they are. Beside
the state of `tx` it keeps the last reading of each meter and an exponential mean, which
`optax.tree.get(opt_state, "realized_edge")` finds by name, and what the meters need to remember.
A meter that is not due costs nothing, since it is behind a `jax.lax.cond`; under `jax.vmap` that
is so if `monitored_steps` is not batched, as lanes would compute both branches. The meters
themselves are pure functions (`rodflow.curvature`); their meaning is in docs/theory/meters.md.
"""

from __future__ import annotations

import jax
import optax

from rodflow._checks import check_at_least, check_below, check_count
from rodflow.curvature.edge import By
from rodflow.curvature.fluctuation import FluctuationMeter
from rodflow.transforms._monitor import Monitor


def monitored(
    inner: optax.GradientTransformation,
    every: int = 10,
    *,
    sharpness_every: int | None = None,
    vectors: int = FluctuationMeter.vectors,
    same_batch: bool = False,
    by: By | None = None,
    decay: jax.typing.ArrayLike = 0.9,
) -> optax.GradientTransformationExtraArgs:
    r"""Keep readings of how far training is from the edge in the state of an optimizer.

    The updates are those of ``inner``, bit by bit. The update takes ``value``, ``grad`` and
    ``value_fn`` as extra arguments, as the line searches of Optax do, and passes them on: the loss
    of this batch, its gradient (the updates that come in, if it is not given) and the loss as a
    function of the parameters. What it is not given it does not measure:

    - ``realized_edge``, at every step, by one forward pass of ``value_fn``; with ``same_batch``
      from the next step's ``value`` instead, without any pass.
    - ``directional_sharpness``, every ``every`` steps, by one Hessian-vector product of
      ``value_fn``.
    - ``effective_sharpness`` of ``value_fn``, every ``sharpness_every`` steps.
    - ``fluctuation``, the effective sharpness read off the fluctuations of minibatch training, from
      gradients and updates alone.

    Each has an exponential mean, ``mean_realized_edge`` and so on. Readings are float32 scalars.
    With ``by``, ``effective_sharpness_by`` and ``fluctuation_by`` are dictionaries with a reading
    for each part of the parameters: that of the part with all others held, and the share of the
    part in ``fluctuation`` (see :meth:`rodflow.FluctuationMeter.parts`), which costs nothing more.
    A model of the optimizer, such as :class:`rodflow.Iteration`, is that of ``inner``.

    Args:
      inner: An optimizer, the whole chain.
      every: Steps between readings of the directional sharpness.
      sharpness_every: Steps between readings of the effective sharpness, by 30 Hessian-vector
        products the first time and 3 from then on; None for none.
      vectors: Directions of the fluctuation meter, which takes (2 k + 3) numbers of memory for each
        parameter; 0 for none. It reads NaN for a chain that has no linear response.
      same_batch: True if each step is on the same data, as in full-batch training.
      by: A function from the path of a leaf of the parameters to the name of its part, or "leaf"
        for a part of each leaf, as in :func:`rodflow.edge`. The effective sharpness then takes as
        many products again for each part.
      decay: Exponential decay rate of the means, at each reading.

    Returns:
      A :class:`optax.GradientTransformationExtraArgs` object.

    Raises:
      ValueError: A number of steps is below 1, ``vectors`` is negative, ``decay`` is outside of
        [0, 1), or (at an update) the
        parameters are not given, or ``value`` is not with ``same_batch``.

    Examples:
      >>> import jax, jax.numpy as jnp, optax, rodflow
      >>> loss = lambda w: jnp.sum(jnp.array([3.0, 1.0]) * w**2)
      >>> tx = rodflow.monitored(optax.sgd(0.3), every=1, vectors=0)
      >>> params = jnp.ones(2)
      >>> state = tx.init(params)
      >>> for _ in range(5):
      ...   value, grads = jax.value_and_grad(loss)(params)
      ...   updates, state = tx.update(grads, state, params, value=value, value_fn=loss)
      ...   params = optax.apply_updates(params, updates)
      >>> print(f'{optax.tree.get(state, "realized_edge"):.2f}')
      0.90
    """
    check_count("every", every, 1)
    if sharpness_every is not None:
        check_count("sharpness_every", sharpness_every, 1)
    check_count("vectors", vectors, 0)
    check_at_least("decay", decay, 0)
    check_below("decay", decay, 1)
    meter = FluctuationMeter(vectors) if vectors else None
    monitor = Monitor(inner, every, sharpness_every, meter, same_batch, by, decay)
    return optax.GradientTransformationExtraArgs(monitor.init, monitor.update)
