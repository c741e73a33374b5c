"""Kernel logistic regression, separable data with a margin, and matrix factorization.

    logistic:   f(w) = mean_i log(1 + exp(-y_i <w, x_i>)),  x_i the RBF features of a digit
                exp(-|z_i - z_j|^2 / (2 bandwidth^2)) of all training digits z_j, or points of
                norm about 1 whose distance from a hyperplane is at least the margin
    matrices:   f(W) = mean_i |W_2 W_1 x_i - A x_i|^2 / 2,  or W x_i for the linear network, with
                A = diag(linspace(1, 1e-10, 10)) U[0, 1]^(10 x 6) and x_i from N(0, I)

The infimum of each is known: 0 where the data can be fitted, and for matrices of rank r half the
sum of the squared singular values of A C^1/2 beyond the first r, with C the covariance of x.

Vaswani et al. 2019 (arXiv 1905.09997), section 7; the matrices are Rahimi & Recht's (2017).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from experiments.problems.data.digits import digits

SMALLEST_SCALE = 1e-10


class Samples(NamedTuple):
    """Inputs and targets; the targets of classification are -1 or 1."""

    inputs: Float[Array, "samples features"]
    targets: Float[Array, "samples *outputs"]


class Problem(NamedTuple):
    """A mean over samples of a loss, with its infimum.

    `held_out` are more samples of a problem of classification, whose predictions are signs.
    """

    samples: Samples
    loss: Callable[[PyTree[Float[Array, "..."]], Samples], Float[Array, ""]]
    init: Callable[[Key[Array, ""]], PyTree[Float[Array, "..."]]]
    infimum: float
    held_out: Samples | None


def logistic_loss(weights: Float[Array, " features"], samples: Samples) -> Float[Array, ""]:
    """Return the mean logistic loss of a linear classifier."""
    return jnp.mean(jax.nn.softplus(-samples.targets * (samples.inputs @ weights)))


def accuracy(weights: Float[Array, " features"], samples: Samples) -> Float[Array, ""]:
    """Return the share of the samples whose sign is predicted."""
    return jnp.mean(samples.targets * (samples.inputs @ weights) > 0)


def kernel_regression(samples: int, digit: int, bandwidth: float) -> Problem:
    """Classify one digit against the others by RBF features; further digits are held out."""
    data = digits(size=1797)
    pixels = data.inputs.reshape(len(data.inputs), -1)
    signs = jnp.where(jnp.argmax(data.targets, axis=1) == digit, 1.0, -1.0)
    centres = pixels[:samples]
    squares = jnp.sum((pixels[:, None] - centres) ** 2, axis=-1)
    features = jnp.exp(-squares / (2 * bandwidth**2))
    return _classification(features, signs, samples)


def separable(samples: int, features: int, margin: float, seed: int) -> Problem:
    """Classify points on two sides of a random hyperplane through 0; as many more are held out."""
    normal, points, signs = (np.random.default_rng([seed, i]) for i in range(3))
    direction = normal.normal(size=features)
    direction /= np.linalg.norm(direction)
    x = points.normal(size=(2 * samples, features)) / np.sqrt(features)
    y = signs.choice([-1.0, 1.0], size=2 * samples)
    along = x @ direction
    moved = x + np.outer(y * (margin + np.abs(along)) - along, direction)
    return _classification(jnp.asarray(moved, jnp.float32), jnp.asarray(y, jnp.float32), samples)


def _classification(inputs: Array, targets: Array, samples: int) -> Problem:
    if not 0 < samples < len(inputs):
        raise ValueError(f"samples={samples}: it must be from 1 to {len(inputs) - 1}")
    train, held_out = (Samples(inputs[s], targets[s]) for s in (np.s_[:samples], np.s_[samples:]))
    return Problem(train, logistic_loss, lambda _: jnp.zeros(inputs.shape[1]), 0.0, held_out)


def squared_error(factors: list[Float[Array, "_ _"]], samples: Samples) -> Float[Array, ""]:
    """Return half the mean squared error of a linear network of one or two layers."""
    outputs = samples.inputs
    for factor in factors:
        outputs = outputs @ factor.T
    return jnp.mean(jnp.sum((outputs - samples.targets) ** 2, axis=1)) / 2


def factorization(samples: int, rank: int | None, seed: int) -> Problem:
    """Fit A x by a product of two matrices of some rank, or by one matrix for None."""
    uniform, normal = (np.random.default_rng([seed, i]) for i in range(2))
    a = np.linspace(1, SMALLEST_SCALE, 10)[:, None] * uniform.random((10, 6))
    x = normal.normal(size=(samples, 6))
    shapes = [(10, 6)] if rank is None else [(rank, 6), (10, rank)]

    def init(key: Key[Array, ""]) -> list[Float[Array, "_ _"]]:
        # Within 1 / sqrt(fan_in), as PyTorch draws them.
        return [
            jax.random.uniform(k, shape, minval=-1, maxval=1) / np.sqrt(shape[1])
            for k, shape in zip(jax.random.split(key, len(shapes)), shapes, strict=True)
        ]

    values = np.linalg.svd(a @ x.T / np.sqrt(samples), compute_uv=False)
    missed = values[rank or 6 : 6]  # the rank of A is 6
    data = Samples(jnp.asarray(x, jnp.float32), jnp.asarray(x @ a.T, jnp.float32))
    return Problem(data, squared_error, init, float(np.sum(missed**2) / 2), None)
