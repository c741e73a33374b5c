"""Batch sharpness against dense Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow

INPUTS = np.random.default_rng(0).normal(size=(5, 4, 3))  # five batches of four samples


def loss(w, batch):
    return jnp.mean(jnp.cosh(batch @ w))


@pytest.fixture
def dense():
    w = jnp.array([0.5, -0.3, 0.2])
    grads = jax.vmap(jax.grad(loss), (None, 0))(w, INPUTS)
    return w, grads, jax.vmap(jax.hessian(loss), (None, 0))(w, INPUTS)


def test_batch_sharpness_is_the_mean_of_rayleigh_quotients(dense):
    w, grads, hessians = dense
    quotients = [g @ H @ g / (g @ g) for g, H in zip(grads, hessians, strict=True)]
    found = jax.jit(rodflow.batch_sharpness, static_argnums=0)(loss, w, INPUTS)
    np.testing.assert_allclose(found, np.mean(quotients), rtol=1e-5)


def test_generalized_batch_sharpness_is_the_ratio_of_means_over_the_steps_of_any_chain(dense):
    w, grads, hessians = dense
    tx = optax.adam(0.1)
    state = tx.init(w)
    steps = [tx.update(g, state, w)[0] for g in grads]
    curved = np.mean([u @ H @ u for u, H in zip(steps, hessians, strict=True)])
    slope = np.mean([u @ g for u, g in zip(steps, grads, strict=True)])
    found = rodflow.generalized_batch_sharpness(
        loss, w, INPUTS, lambda g: tx.update(g, state, w)[0]
    )
    np.testing.assert_allclose(found, -curved / slope, rtol=1e-5)


def test_half_of_it_is_one_where_sgd_leaves_the_loss_of_a_quadratic_as_it_was():
    def form(w, curvature):
        return curvature * jnp.sum(w**2) / 2

    found = rodflow.generalized_batch_sharpness(
        form, jnp.ones(3), jnp.array([4.0, 4.0]), lambda g: -0.5 * g
    )
    assert found / 2 == 1
