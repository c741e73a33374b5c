import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from rodflow import FreeEnergyFlow, Iteration

pytestmark = pytest.mark.usefixtures("x64")


def flat_basis(y):
    return jax.vmap(lambda row: ravel_pytree(row)[0])(y.basis)


def test_gradient_descent_as_published(network_loss, params):
    """Both equations against dense matrices, at full rank, where the projection is none."""
    lr = 0.7
    flow, iteration = FreeEnergyFlow(rank=10, seed=0.0), Iteration(network_loss, optax.sgd(lr))
    y = eqx.filter_jit(flow.init)(iteration, iteration.init(params))
    random = np.random.default_rng(0).normal(size=(10, 10))
    y = y._replace(covariance=jnp.asarray(random @ random.T / 100))
    found = eqx.filter_jit(flow.increment)(iteration, y)
    flat, unravel = ravel_pytree(params)
    loss = lambda w: network_loss(unravel(w))  # noqa: E731
    of = (loss, jax.grad(loss), jax.hessian(loss), jax.jacfwd(jax.hessian(loss)))
    value, gradient, hessian, third = map(np.asarray, jax.jit(lambda w: [f(w) for f in of])(flat))
    basis = np.asarray(flat_basis(y))
    s = lr * basis.T @ y.covariance @ basis
    moved = -lr * gradient - lr / 2 * np.einsum("ij,ijk->k", s, third)
    np.testing.assert_allclose(ravel_pytree(found.z.params)[0], moved, rtol=1e-8)
    changed = -lr * (s @ hessian + hessian @ s) + lr**2 * hessian @ s @ hessian
    np.testing.assert_allclose(
        lr * basis.T @ found.covariance @ basis, changed, rtol=1e-7, atol=1e-10
    )
    extent, predicted = flow.extent(y), eqx.filter_jit(flow.predicted_loss)(iteration, y)
    np.testing.assert_allclose(extent, np.sqrt(np.trace(s)), rtol=1e-7)
    np.testing.assert_allclose(predicted, value + np.trace(hessian @ s) / 2, rtol=1e-8)


@pytest.mark.parametrize(("sharpness", "grows"), [(18.0, False), (22.0, True)])
def test_variance_of_a_quadratic_mode(sharpness, grows):
    """lr s (lr s - 2) is the rate of growth: positive beyond 2 / lr."""
    iteration = Iteration(lambda w: sharpness * w[0] ** 2 / 2, optax.sgd(0.1))
    flow = FreeEnergyFlow()
    y = flow.init(iteration, iteration.init(jnp.zeros(1)))._replace(covariance=jnp.ones((1, 1)))
    rate = flow.increment(iteration, y).covariance[0, 0]
    np.testing.assert_allclose(rate, 0.1 * sharpness * (0.1 * sharpness - 2), rtol=1e-10)
    assert (rate > 0) == grows


def test_the_variance_grows_from_the_drift():
    """2 kappa^2 |A|^2, with the drift in the metric of the modes: lr |grad L|^2."""
    iteration = Iteration(lambda w: 3 * w[0] + w[1], optax.sgd(0.1))
    flow = FreeEnergyFlow(rank=1, seed=0.1)
    y = flow.init(iteration, iteration.init(jnp.ones(2)))
    np.testing.assert_allclose(
        flow.increment(iteration, y).covariance, [[2 * 0.01 * 0.1 * 10]], rtol=1e-6
    )


def test_momentum_is_refused(network_loss, params):
    iteration = Iteration(network_loss, optax.adam(0.1))
    with pytest.raises(ValueError, match=r"opt_state\[0\]\.mu.* is momentum; FreeEnergyFlow is of"):
        FreeEnergyFlow().init(iteration, iteration.init(params))


def test_bad_rank():
    with pytest.raises(ValueError, match="`rank` is 0; it must be at least 1"):
        FreeEnergyFlow(rank=0)
