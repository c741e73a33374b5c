from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow
from rodflow import CentralFlow, Iteration

pytestmark = pytest.mark.usefixtures("x64")

LEARNING_RATE = 0.1
DRIFT = 0.05
DECAY = 1e-4


def valley(w):
    """A mode of sharpness w[1] that a drift makes ever sharper, and one that stays harmless."""
    return w[1] * w[0] ** 2 / 2 - DRIFT * w[1] + w[2] ** 2


def edge_of(tx):
    """Return the sharpness at the edge of `tx`, from its response to an alternating gradient."""
    iteration = Iteration(valley, tx)
    state = iteration.step(iteration.init(jnp.array([0.0, 1.0, 0.0])))
    return float(2 / rodflow.nyquist_response(iteration, state)[0])


LINEAR = {
    "gd": optax.sgd(LEARNING_RATE),
    "weight_decay": optax.chain(optax.sgd(LEARNING_RATE), optax.add_decayed_weights(-DECAY)),
    "heavy_ball": rodflow.OPTIMIZERS["heavy_ball"](LEARNING_RATE, b1=0.9),
}


@pytest.mark.parametrize(
    ("name", "period"),
    [
        ("gd", 2),
        *(pytest.param(n, 1, marks=pytest.mark.slow) for n in ("heavy_ball", "weight_decay")),
    ],
)
def test_the_edge_is_held_by_the_oscillation_that_balances_the_drift(name, period):
    """d w[1]/dt ~ DRIFT - Sigma / 2 = 0 in the valley: Sigma = 2 DRIFT, less what decays."""
    tx = LINEAR[name]
    edge = edge_of(tx)
    start = jnp.array([0.0, edge - 0.1, 0.1])
    tracker = rodflow.Tracker(valley, tx, {"central": CentralFlow(period=period)}, every=300)
    state, tracking = tracker.run(tracker.init(start), 1)
    y = state.flows["central"].y
    central = tracking.flows["central"]
    np.testing.assert_allclose(y.sharpness[0], 1.0, atol=1e-5)
    decay = DECAY * edge / LEARNING_RATE if name == "weight_decay" else 0.0
    expected = 2 * (DRIFT - decay)
    np.testing.assert_allclose(central.extent[-1] ** 2, expected, rtol=1e-4)
    # L + <H, Sigma> / 2: the oscillation pays back what the drift has gained.
    loss = valley(y.z.params) + y.z.params[1] * central.extent[-1] ** 2 / 2
    np.testing.assert_allclose(central.loss[-1], loss, atol=1e-6)


def dense(iteration, y):
    """Return gradient, Hessian and third derivatives of the loss over flat parameters."""
    flat, unravel = ravel_pytree(y.z.params)
    loss = lambda w: iteration.loss(unravel(w))  # noqa: E731
    gradient, hessian = jax.grad(loss), jax.hessian(loss)
    found = jax.jit(lambda w: (gradient(w), hessian(w), jax.jacfwd(hessian)(w)))(flat)
    return map(np.asarray, found)


@pytest.fixture
def at_the_edge(network_loss, params):
    """Return the learning rate at which two modes of a network are beyond the edge."""
    flat, unravel = ravel_pytree(params)
    hessian = jax.jit(jax.hessian(lambda w: network_loss(unravel(w))))
    values = np.linalg.eigvalsh(hessian(flat))
    return float(2 / values[-2]) * 1.001


def central_of(flow, iteration, y):
    """Return the increment of the centre, flat, and Sigma over flat parameters."""
    after = eqx.filter_jit(flow.increment)(iteration, y)
    basis = flat_basis(y)
    x = np.asarray(y.covariance + after.covariance)
    return np.asarray(ravel_pytree(after.z.params)[0]), basis.T @ x @ basis


def flat_basis(y):
    return np.concatenate(
        [np.reshape(leaf, (len(leaf), -1)) for leaf in jax.tree.leaves(y.basis)], 1
    )


def check_published(loss, lr, params, beyond):
    """Check the flow of gradient descent with so many modes beyond the edge, and one that is not.

    -lr [grad L + grad <Sigma, H> / 2], from dense derivatives, with complementary slack.
    """
    flow, iteration = CentralFlow(modes=beyond + 1), Iteration(loss, optax.sgd(lr))
    y = eqx.filter_jit(flow.init)(iteration, iteration.init(params))
    moved, sigma = central_of(flow, iteration, y)
    sigma = lr * sigma  # u = lr^1/2 v
    gradient, hessian, third = dense(iteration, y)
    expected = -lr * (gradient + np.einsum("ij,ijk->k", sigma, third) / 2)
    np.testing.assert_allclose(moved, expected, rtol=1e-6, atol=1e-9)
    # Along the modes near the edge the next Hessian, to first order, is at or below it.
    near = flat_basis(y)[:beyond]
    assert y.sharpness[beyond - 1] > 1 > y.sharpness[beyond]
    slack = 2 * np.eye(beyond) - near @ (lr * (hessian + third @ moved)) @ near.T
    assert np.linalg.eigvalsh(slack).min() > -1e-8
    x = near @ sigma @ near.T
    assert np.linalg.eigvalsh(x).min() > 0.01
    np.testing.assert_allclose(slack @ x, 0, atol=1e-8)


def test_gradient_descent_as_published(network_loss, params, at_the_edge):
    check_published(network_loss, at_the_edge, params, beyond=2)


def test_three_modes_beyond_the_edge_at_once():
    """A valley of three modes w whose curvature S + v a drift of v makes sharper, and couples."""
    random = 0.1 * np.random.default_rng(0).normal(size=(3, 3))
    curvature, drift = jnp.diag(jnp.array([20.02, 20.05, 20.1])), np.eye(3) + random @ random.T

    def loss(p):
        return p["w"] @ (curvature + p["v"]) @ p["w"] / 2 - jnp.sum(drift * p["v"])

    params = {"v": jnp.zeros((3, 3)), "w": jnp.zeros(3)}
    check_published(loss, LEARNING_RATE, params, beyond=3)


def test_nothing_oscillates_before_the_edge(network_loss, params, at_the_edge):
    flow, iteration = CentralFlow(), Iteration(network_loss, optax.sgd(at_the_edge / 30))
    y = eqx.filter_jit(flow.init)(iteration, iteration.init(params))
    after = eqx.filter_jit(flow.increment)(iteration, y)
    np.testing.assert_array_equal(after.covariance, 0)
    drift = iteration.increment(y.z).params
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), after.z.params, drift)


@pytest.mark.slow
@pytest.mark.parametrize("b2", [0.99, 0.999])
def test_rmsprop_as_published(network_loss, params, b2):
    """dw/dt = -G / P, d nu/dt ~ G^2 + diag(H Sigma H) - nu; G = grad L + grad <Sigma, H> / 2.

    Up to the effect of the oscillation on nu within a step, which is 1 - b2 in proportion.
    """

    def rmsprop(lr):
        return optax.rmsprop(lr, decay=b2, initial_scale=0.1)

    state = Iteration(network_loss, rmsprop(1.0)).init(params)
    lr = 1.02 / float(rodflow.effective_sharpness(network_loss, rmsprop(1.0), state)[0])
    iteration = Iteration(network_loss, rmsprop(lr))
    state = iteration.init(params)
    flow = CentralFlow(modes=2)
    y = eqx.filter_jit(flow.init)(iteration, state)
    after = eqx.filter_jit(flow.increment)(iteration, y)
    gradient, hessian, third = dense(iteration, y)
    step = iteration.step(state)
    response = np.asarray(ravel_pytree(rodflow.nyquist_response(iteration, step))[0])
    basis = flat_basis(y) * np.sqrt(response)
    sigma = basis.T @ np.asarray(y.covariance + after.covariance) @ basis
    assert np.trace(sigma) > 0
    drift = iteration.increment(state)
    moved = ravel_pytree(after.z.params)[0] - ravel_pytree(drift.params)[0]
    expected = -response * np.einsum("ij,ijk->k", sigma, third) / 2
    difference = np.linalg.norm(moved - expected) / np.linalg.norm(expected)
    assert difference < 40 * (1 - b2)
    memories = jax.tree.map(jnp.subtract, after.z.opt_state, drift.opt_state)
    (fed,) = [leaf for leaf in [ravel_pytree(memories)[0]] if leaf.size]
    bent = gradient * np.einsum("ij,ijk->k", sigma, third)  # of the square of the mean gradient
    oscillating = (1 - b2) * (np.diag(hessian @ sigma @ hessian) + bent)
    np.testing.assert_allclose(fed[fed != 0], oscillating[oscillating != 0], rtol=1e-6)


@pytest.mark.slow
def test_lanes_are_runs_of_their_own():
    rates = jnp.linspace(0.08, 0.11, 8)

    def lane(lr):
        return rodflow.track(
            valley,
            optax.sgd(lr),
            jnp.array([0.01, 19.0, 0.1]),
            num_steps=60,
            warmup=0,
            every=30,
            flows={"central": CentralFlow()},
        ).flows["central"]

    lanes = jax.jit(jax.vmap(lane))(rates)
    one = jax.jit(lane)
    for index, lr in enumerate(rates):
        alone = one(lr)
        np.testing.assert_allclose(lanes.distance[index], alone.distance, rtol=1e-6, atol=1e-10)
        np.testing.assert_allclose(lanes.extent[index], alone.extent, rtol=1e-6, atol=1e-10)
        np.testing.assert_array_equal(lanes.hessians[index], alone.hessians)
    assert jnp.all(jnp.isfinite(lanes.distance))


def test_work_is_counted():
    """In two steps one gradient, k products, a (a + 1) / 2 thirds, and eight gradients between."""
    tracking = rodflow.track(
        valley,
        optax.sgd(LEARNING_RATE),
        jnp.array([0.01, 19.0, 0.1]),
        num_steps=20,
        warmup=0,
        every=20,
        flows={"central": CentralFlow(near=0.9, period=2)},
    )
    central = tracking.flows["central"]
    work = central.gradients, central.hessians, central.thirds
    np.testing.assert_allclose(jnp.concatenate(work), [4.5, 1.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modes": 0}, "`modes` is 0; it must be at least 1"),
        ({"period": 0}, "`period` is 0; it must be at least 1"),
        ({"near": 1.0}, "`near` is 1.0; it must be between 0 and 1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        CentralFlow(**options)
