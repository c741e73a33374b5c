"""Curvature Dynamics Aware Tuning: learning rates from the curvature along the step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from rodflow.transforms import ScaleToEdgeState


def learning_rates(tx, loss, params, num_steps):
    """The learning rate of each step, the losses before them, and the last parameters."""

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params, value_fn=loss)
        rate = optax.tree.get(state, "learning_rate")
        return (optax.apply_updates(params, updates), state), (rate, value)

    (params, _), seen = jax.lax.scan(step, (params, tx.init(params)), length=num_steps)
    return *seen, params


def test_against_numpy():
    """The equations of the docstring, with averages that start from their first values."""
    rng = np.random.default_rng(0)
    square = rng.normal(size=(4, 4))
    hessian, sigma, decay = square @ square.T, 1.3, 0.7
    with jax.enable_x64(True):
        tx = optax.chain(optax.sgd(1.0, momentum=0.5), rodflow.scale_to_edge(sigma, decay))
        w, m = rng.normal(size=4), np.zeros(4)
        loss = lambda w: w @ jnp.asarray(hessian) @ w / 2  # noqa: E731
        rates, _, params = jax.device_get(learning_rates(tx, loss, jnp.asarray(w), 6))
    descents, curvatures = [], []
    for t in range(6):
        g = hessian @ w
        m = 0.5 * m + g
        descents.append(max(g @ m, 0))
        curvatures.append(abs(m @ hessian @ m))
        # The first value has the weight of all before it.
        weights = (1 - decay) * decay ** np.arange(t, -1.0, -1.0)
        weights[0] /= 1 - decay
        n, d = weights @ descents, weights @ curvatures
        np.testing.assert_allclose(rates[t], sigma * n / d, rtol=1e-10)
        w = w - rates[t] * m
    np.testing.assert_allclose(params, w, rtol=1e-9)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_sigma_is_the_directional_sharpness_of_the_step(sigma):
    """Without averages; 2 would leave a loss of second order as it is."""
    loss = lambda w: jnp.sum(jnp.array([1.0, 10.0]) * w**2) / 2  # noqa: E731
    tx = optax.chain(optax.sgd(1.0), rodflow.scale_to_edge(sigma, decay=0.0))
    params = jnp.array([1.0, 1.0])
    grads = jax.grad(loss)(params)
    updates, _ = tx.update(grads, tx.init(params), params, value_fn=loss)
    change = loss(params + updates) - loss(params)
    realized = 1 - change / jnp.vdot(grads, updates)
    np.testing.assert_allclose(realized, sigma / 2, rtol=1e-5)


def test_two_greedy_rates_are_the_edge(params, network_loss):
    """Training by gradient descent with sigma 2 stays at an effective sharpness near 1."""
    tx = optax.chain(optax.sgd(1.0), rodflow.scale_to_edge(2.0))
    rates, losses, params = learning_rates(tx, network_loss, params, 300)
    sharpness = rodflow.sharpness(network_loss, params)[0]
    assert losses[-1] < losses[0]
    assert 0.5 < rates[-1] * sharpness / 2 < 1.5


def test_ascent_makes_no_step():
    tx = optax.chain(optax.scale(1.0), rodflow.scale_to_edge())
    loss, w = lambda w: jnp.sum(w**2), jnp.ones(3)
    updates, state = tx.update(jax.grad(loss)(w), tx.init(w), w, value_fn=loss)
    np.testing.assert_array_equal(updates, 0)
    assert isinstance(state[1], ScaleToEdgeState)
    assert state[1].learning_rate == 0


def test_a_minimum_makes_no_step():
    tx = optax.chain(optax.sgd(1.0), rodflow.scale_to_edge())
    loss, w = lambda w: jnp.sum(w**2), jnp.zeros(3)
    updates, state = tx.update(jax.grad(loss)(w), tx.init(w), w, value_fn=loss)
    np.testing.assert_array_equal(updates, 0)
    assert state[1].learning_rate == 0


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`sigma` is -1.0; it must be at least 0"):
        rodflow.scale_to_edge(-1.0)
    with pytest.raises(ValueError, match=r"`decay` is 1.0; it must be below 1"):
        rodflow.scale_to_edge(decay=1.0)
    tx = rodflow.scale_to_edge()
    with pytest.raises(ValueError, match="`params` is None"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), value_fn=jnp.sum)
    with pytest.raises(ValueError, match="`value_fn` is None; it must be the loss"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
