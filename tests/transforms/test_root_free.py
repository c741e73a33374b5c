"""Root-free RMSProp and Adam against NumPy, and their limit cycles at the edge of stability."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from rodflow import Parity
from rodflow.transforms import rf_adamw, rf_rmsprop, rmsprop, scale_by_rf_adam, scale_by_rf_rms

B = 20


def updates_of(tx, grads, params) -> np.ndarray:
    """All updates, in float64; the parameters stay where they are."""
    state, out, update = tx.init(params), [], jax.jit(tx.update)
    for g in grads:
        updates, state = update(jnp.asarray(g), state, params)
        out.append(updates)
    return np.array(out)


def test_rf_rmsprop_against_numpy():
    lr, b2, eps, momentum, decay = 0.3, 0.8, 1e-2, 0.6, 0.1
    grads = np.random.default_rng(0).normal(size=(10, 4))
    w = np.array([1.0, -2.0, 3.0, 0.0])
    s, buf, expected = 1 / B, 0.0, []
    for g in grads:
        s = b2 * s + (1 - b2) * g**2
        buf = momentum * buf + g / (B * s + eps) + decay * w
        expected.append(-lr * buf)
    with jax.enable_x64(True):
        tx = rf_rmsprop(lr, B, b2, eps, momentum, decay)
        np.testing.assert_allclose(updates_of(tx, grads, jnp.asarray(w)), expected, rtol=1e-12)


@pytest.mark.parametrize("bias_correction", [False, True])
def test_rf_adamw_against_numpy(bias_correction):
    lr, b1, b2, eps, decay = 0.3, 0.7, 0.8, 1e-2, 0.1
    grads = np.random.default_rng(0).normal(size=(10, 4))
    w = np.array([1.0, -2.0, 3.0, 0.0])
    m, s, expected = 0.0, 1 / B, []
    for t, g in enumerate(grads, start=1):
        m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g**2
        left = np.array([b1**t, b2**t]) if bias_correction else np.zeros(2)
        m_hat, s_hat = m / (1 - left[0]), s / (1 - left[1])
        expected.append((1 - lr * decay) * w - lr * m_hat / (B * s_hat + eps) - w)
    with jax.enable_x64(True):
        tx = rf_adamw(lr, B, b1, b2, eps, decay, bias_correction)
        np.testing.assert_allclose(updates_of(tx, grads, jnp.asarray(w)), expected, rtol=1e-12)


def late_loss(tx, curvature, steps=6000, last=2):
    """The loss on f = lam x^2 / 2, averaged over the last steps."""

    def loss(x):
        return curvature * x**2 / 2

    @jax.jit
    def run(x):
        def step(carry, _):
            x, state = carry
            updates, state = tx.update(jax.grad(loss)(x), state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), loss(x)

        return jax.lax.scan(step, (x, tx.init(x)), length=steps)[1]

    return np.mean(run(jnp.asarray(0.3))[-last:])


@pytest.mark.parametrize("b2", [0.9, 0.99])
@pytest.mark.parametrize("curvature", [0.5, 1.0, 4.0])
def test_limit_cycles_of_rmsprop(curvature, b2):
    """With the root the loss at the edge is lam lr^2 / 8; without it lam drops out, but for eps."""
    lr, eps = 0.02, 1e-4
    with jax.enable_x64(True):
        rooted = late_loss(rmsprop(lr, b2, eps=0.0), curvature)
        np.testing.assert_allclose(rooted, curvature * lr**2 / 8, rtol=1e-6)
        root_free = late_loss(rf_rmsprop(lr, B, b2, eps), curvature)
        np.testing.assert_allclose(root_free, (lr / 2 - eps / curvature) / (2 * B), rtol=1e-6)


@pytest.mark.parametrize("momentum", [0.1, 0.3, 0.5])
def test_momentum_divides_the_learning_rate_of_the_limit_cycle(momentum):
    """By 1 + a; from a = 0.3 on the loss swings about this value and has it on average."""
    lr, eps = 0.02, 1e-4
    with jax.enable_x64(True):
        found = late_loss(rf_rmsprop(lr, B, 0.95, eps, momentum), 1.0, steps=20_000, last=15_000)
    np.testing.assert_allclose(found, (lr / (2 * (1 + momentum)) - eps) / (2 * B), rtol=0.05)


@pytest.mark.parametrize("momentum", [None, 0.5])
def test_a_large_eps_makes_it_converge(momentum):
    lr = 0.02
    with jax.enable_x64(True):
        eps = 1.01 * lr / (2 * (1 + (momentum or 0.0)))
        assert late_loss(rf_rmsprop(lr, B, 0.9, eps, momentum), 1.0) < 1e-12


def test_the_critical_sharpness_is_that_of_the_rooted_methods():
    """In units of P^-1/2 H P^-1/2 with P = B s + eps, by the Nyquist probe."""
    curvature, lr, b1, eps = np.array([1.0, 2.0, 3.0]), 0.01, 0.8, 1e-2
    with jax.enable_x64(True):
        params = jnp.asarray([1.0, 0.5, -0.3])
        for tx, factor in (
            (rf_rmsprop(lr, B, 0.9, eps), 2),
            (rf_rmsprop(lr, B, 0.9, eps, momentum=0.5), 3),
            (rf_adamw(lr, B, b1, 0.9, eps, weight_decay=0.0), 2 * (1 + b1) / (1 - b1)),
        ):
            iteration = rodflow.Iteration(lambda x: jnp.sum(curvature * x**2) / 2, tx)
            state = jax.lax.fori_loop(
                0,
                500,
                lambda _, z, step=iteration.step: step(z)._replace(params=params),
                iteration.init(params),
            )
            preconditioner = B * (curvature * params) ** 2 + eps
            response = rodflow.nyquist_response(iteration, state)
            np.testing.assert_allclose(2 / response, factor / lr * preconditioner, rtol=1e-5)


def test_the_first_step_is_no_sign_descent():
    grads = jnp.array([0.1, 0.01, 0.001])
    for tx in (scale_by_rf_rms(1), scale_by_rf_adam(1)):
        updates = updates_of(tx, [grads], grads)[0]
        np.testing.assert_allclose(updates / updates[0], grads / grads[0], rtol=1e-3)


def test_second_moments_of_complex_gradients_are_real():
    grads = jnp.array([3.0 - 4.0j])
    for tx in (scale_by_rf_rms(1, b2=0.0, eps=0.0), scale_by_rf_adam(1, b1=0.0, b2=0.0, eps=0.0)):
        updates, state = tx.update(grads, tx.init(grads))
        assert state.nu.dtype == jnp.float32
        np.testing.assert_allclose(updates, grads / 25, rtol=1e-6)


def test_parity():
    iteration = rodflow.Iteration(lambda w: jnp.sum(w**2), rf_adamw(0.1, B))
    parity = iteration.parity(jnp.ones(2)).opt_state
    assert parity[0] == (Parity.CLOCK, Parity.OSCILLATING, Parity.AUXILIARY)


@pytest.mark.parametrize("optimizer", [rf_rmsprop, rf_adamw])
def test_a_batch_has_a_sample(optimizer):
    with pytest.raises(ValueError, match=r"`batch_size` is 0; it must be at least 1"):
        optimizer(0.1, batch_size=0)
