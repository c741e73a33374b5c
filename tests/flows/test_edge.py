import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow
from rodflow import EdgeFlow, Iteration

pytestmark = pytest.mark.usefixtures("x64")

DRIFT = 0.05


def valley(w):
    """A mode of sharpness w[1] that a drift makes ever sharper, and one that stays harmless."""
    return w[1] * w[0] ** 2 / 2 - DRIFT * w[1] + w[2] ** 2


def test_gradient_descent_as_published(network_loss, params):
    """The three equations in units of steps, from dense derivatives."""
    lr = 1.2
    flow, iteration = EdgeFlow(), Iteration(network_loss, optax.sgd(lr))
    y = eqx.filter_jit(flow.init)(iteration, iteration.init(params))
    random = jax.tree.map(lambda w, u: jnp.asarray(u + 0.1 * np.cos(7 * w)), params, y.u)
    y = y._replace(u=random, x=jnp.asarray(0.3))
    flat, unravel = ravel_pytree(params)
    flat, u = np.asarray(flat), np.asarray(ravel_pytree(random)[0])
    u = u / np.linalg.norm(u)
    gradient = jax.jit(jax.grad(lambda w: network_loss(unravel(w))))
    hessian = np.asarray(jax.jit(jax.jacfwd(gradient))(flat))
    rate = u @ hessian @ u
    found = eqx.filter_jit(flow.increment)(iteration, y)
    moved = -lr / 2 * (gradient(flat + 0.3 * u) + gradient(flat - 0.3 * u))
    np.testing.assert_allclose(ravel_pytree(found.z.params)[0], moved, rtol=1e-10)
    turned = 2 * lr * (hessian @ u - rate * u)
    np.testing.assert_allclose(ravel_pytree(found.u)[0], turned, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.x, (lr * rate - 2) * 0.3, rtol=1e-10)


@pytest.mark.parametrize(
    ("tx", "critical", "gain"),
    [
        (optax.sgd(0.1), 20.0, 1.0),
        (rodflow.OPTIMIZERS["heavy_ball"](0.1, b1=0.6), 80.0, 4.0),
        (optax.sgd(0.1, momentum=0.5), 30.0, 1.5 / 0.5),
    ],
    ids=["gd", "heavy_ball", "trace"],
)
def test_growth_beyond_the_edge(tx, critical, gain):
    """(1 + b1) / (1 - b1) times as fast as gradient descent, from the spectrum of the map."""
    flow, iteration = EdgeFlow(), Iteration(valley, tx)
    excess = 1e-4
    start = jnp.array([0.0, critical * (1 + excess), 0.0])
    y = flow.init(iteration, iteration.init(start))._replace(x=jnp.asarray(1e-3))
    rate = eqx.filter_jit(flow.increment)(iteration, y).x / y.x
    np.testing.assert_allclose(rate, gain * 2 * excess, rtol=1e-3)

    def matrix(sharpness):
        iteration = Iteration(lambda w: sharpness * w**2 / 2, tx)
        flat, unravel = ravel_pytree(iteration.init(jnp.asarray(0.0)))
        return jax.jacfwd(lambda z: ravel_pytree(iteration.step(unravel(z)))[0])(flat)

    eigenvalues = np.linalg.eigvals(matrix(critical * (1 + excess)))
    np.testing.assert_allclose(rate, np.log(np.abs(eigenvalues).max()), rtol=2e-3)


@pytest.mark.parametrize("b1", [None, 0.6], ids=["gd", "heavy_ball"])
def test_the_edge_is_held_in_the_valley(b1):
    """d w[1]/dt ~ DRIFT - x^2 / 2 = 0, at the critical sharpness."""
    if b1 is None:
        tx, critical = optax.sgd(0.1), 20.0
    else:
        tx, critical = rodflow.OPTIMIZERS["heavy_ball"](0.1, b1=b1), 80.0
    flow, iteration = EdgeFlow(), Iteration(valley, tx)
    start = jnp.array([0.0, critical, 0.1])
    y = flow.init(iteration, iteration.init(start))
    u = jnp.array([1.0, 0.0, 0.0])
    y = y._replace(u=u, x=jnp.asarray((2 * DRIFT) ** 0.5))
    after = eqx.filter_jit(flow.increment)(iteration, y)
    np.testing.assert_allclose(after.z.params[:2], 0, atol=1e-12)
    np.testing.assert_allclose(after.x, 0, atol=1e-9)
    np.testing.assert_allclose(flow.extent(y), (2 * DRIFT) ** 0.5)
    z = flow.center(y)
    ends = valley(z + y.x * u), valley(z - y.x * u)
    np.testing.assert_allclose(flow.predicted_loss(iteration, y), sum(ends) / 2, rtol=1e-12)


def test_the_amplitude_has_a_floor():
    flow, iteration = EdgeFlow(floor=1e-4), Iteration(valley, optax.sgd(0.1))
    y = flow.init(iteration, iteration.init(jnp.array([0.0, 10.0, 0.0])))
    np.testing.assert_allclose(y.x, 1e-4)
    np.testing.assert_allclose(flow.increment(iteration, y).x, 0, atol=1e-20)
    above = y._replace(x=jnp.asarray(2e-4))
    np.testing.assert_allclose(
        flow.increment(iteration, above).x, -1e-4
    )  # -2e-4, but not below the floor
