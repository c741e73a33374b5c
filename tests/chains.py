"""Chains and a loss of which several tests find the edge."""

import jax
import numpy as np
import optax

RATE = 0.01
START = {"a": np.array([1.0, 0.5, -0.3]), "b": np.array([[0.7, -1.2]])}
PARTS = {"a": "fast", "b": "slow"}


def average(decay):
    return optax.ema(decay, debias=False)


def averages(*decays, rate=1.0):
    return optax.chain(*map(average, decays), optax.scale(-rate))


def quasi_hyperbolic(decay, share, rate=1.0):
    """A mean of the gradient and of its average (Ma & Yarats 2019, arXiv 1810.06801)."""
    inner = average(decay)

    def update(grads, state, params=None):
        del params
        means, state = inner.update(grads, state)
        return jax.tree.map(lambda m, g: share * m + (1 - share) * g, means, grads), state

    return optax.chain(optax.GradientTransformation(inner.init, update), optax.scale(-rate))


def hessian(seed=0, size=5):
    root = np.random.default_rng(seed).normal(size=(size, size))
    return root @ root.T / size + 0.3 * np.eye(size)
