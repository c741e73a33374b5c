"""The named optimizers are in the papers' form: EMA momentum, bias correction, eps outside."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from rodflow.transforms import OPTIMIZERS, heavy_ball, nesterov, rmsprop


def test_the_names_are_those_of_the_papers():
    assert list(OPTIMIZERS) == [
        "gd",
        "heavy_ball",
        "nesterov",
        "scalar_rmsprop",
        "rmsprop",
        "scalar_adam",
        "adam",
        "scalar_nadam",
        "nadam",
    ]


@pytest.mark.parametrize("name", ["heavy_ball", "nesterov"])
def test_momentum_is_an_exponential_moving_average(name):
    learning_rate, b1 = 0.3, 0.8
    grads = np.random.default_rng(0).normal(size=(10, 4))
    m = np.zeros(4)
    with jax.enable_x64(True):
        tx = OPTIMIZERS[name](learning_rate, b1=b1)
        state = tx.init(jnp.zeros(4))
        for g in grads:
            updates, state = tx.update(jnp.asarray(g), state)
            m = b1 * m + (1 - b1) * g
            direction = b1 * m + (1 - b1) * g if name == "nesterov" else m
            chex.assert_trees_all_close(updates, -learning_rate * direction, rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(optax.tree.get(state, "trace"), m, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("b1", [0.5, 0.9])
@pytest.mark.parametrize(
    ("optimizer", "critical"),
    [
        (lambda lr, b1: optax.sgd(lr), lambda lr, b1: 2 / lr),
        (heavy_ball, lambda lr, b1: 2 * (1 + b1) / ((1 - b1) * lr)),
        (nesterov, lambda lr, b1: 2 * (1 + b1) / ((1 - b1) * (1 + 2 * b1) * lr)),
    ],
    ids=["gd", "heavy_ball", "nesterov"],
)
def test_edge_of_stability_is_that_of_the_table(optimizer, critical, b1):
    """The linear map has the eigenvalue -1 at the critical sharpness."""
    learning_rate = 0.1
    tx = optimizer(learning_rate, b1)
    edge = critical(learning_rate, b1)

    def spectral_radius(sharpness):
        flat, unravel = ravel_pytree((jnp.zeros(()), tx.init(jnp.zeros(()))))

        def step(z):
            w, state = unravel(z)
            updates, state = tx.update(sharpness * w, state, w)
            return ravel_pytree((optax.apply_updates(w, updates), state))[0]

        eigenvalues = np.linalg.eigvals(jax.jacobian(step)(flat))
        return eigenvalues[np.argmax(np.abs(eigenvalues))]

    with jax.enable_x64(True):
        np.testing.assert_allclose(spectral_radius(edge), -1.0, rtol=1e-10)
        assert np.abs(spectral_radius(0.99 * edge)) < 1 < np.abs(spectral_radius(1.01 * edge))


def test_rmsprop_is_adam_without_momentum():
    grads = jax.random.normal(jax.random.key(0), (10, 4))
    tx, adam = rmsprop(0.1, b2=0.9, eps=1e-3), optax.adam(0.1, b1=0.0, b2=0.9, eps=1e-3)
    state, adam_state = tx.init(grads[0]), adam.init(grads[0])
    for g in grads:
        updates, state = tx.update(g, state)
        expected, adam_state = adam.update(g, adam_state)
        chex.assert_trees_all_close(updates, expected, rtol=1e-6)
