"""The leading modes that averaged flows follow, against dense matrices of ten parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow
from rodflow import CentralFlow, FreeEnergyFlow, Iteration
from rodflow.curvature import oscillation

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def at_work(network_loss, params):
    """RMSProp after three steps, and its response lr / (nu^1/2 + eps) at the coming step."""
    iteration = Iteration(network_loss, optax.rmsprop(0.1, decay=0.9, eps=1e-8))
    state = iteration.init(params)
    for _ in range(3):
        state = jax.jit(iteration.step)(state)
    nu = iteration.step(state).opt_state[0].nu
    response = jax.tree.map(lambda n: 0.1 / jnp.sqrt(n + 1e-8), nu)
    return iteration, state, ravel_pytree(response)[0]


@eqx.filter_jit
def begin(flow, iteration, state):
    return flow.init(iteration, state)


@eqx.filter_jit
def increment(flow, iteration, y):
    return flow.increment(iteration, y)


def moved(flow, iteration, y):
    """Return the state a unit step later, the centre where it was."""
    return jax.tree.map(jnp.add, y, increment(flow, iteration, y))._replace(z=y.z)


def flat_loss(loss, params):
    _, unravel = ravel_pytree(params)
    return lambda w: loss(unravel(w))


def flat_rows(tree):
    return jax.vmap(lambda row: ravel_pytree(row)[0])(tree)


def test_modes_are_those_of_the_dense_matrix(at_work):
    iteration, state, response = at_work
    flat, _ = ravel_pytree(state.params)
    hessian = jax.hessian(flat_loss(iteration.loss, state.params))(flat)
    scale = jnp.sqrt(response)
    dense, vectors = jnp.linalg.eigh(scale[:, None] * hessian * scale)
    y = begin(CentralFlow(modes=3), iteration, state)
    np.testing.assert_allclose(2 * y.sharpness, dense[::-1][:3], rtol=1e-5)
    overlap = jnp.abs(flat_rows(y.basis) @ vectors[:, ::-1][:, :3])
    np.testing.assert_allclose(overlap, np.eye(3), atol=1e-3)
    np.testing.assert_allclose(ravel_pytree(y.scale)[0], scale, rtol=1e-10)


@pytest.mark.parametrize(
    ("hessian", "most"),
    [
        ([10.0] + [-10.0] * 199, 1),
        ([10.0] + [-10.0] * 199, 5),
        ([-1.0] * 20 + [-1.4] * 20, 1),
        ([3.0, 2.0] + [0.0] * 40, 5),
        ([0.0] * 8, 5),
    ],
    ids=["one positive", "one of five", "concave", "flat", "linear"],
)
def test_modes_where_few_eigenvalues_are_positive(hessian, most):
    curvature, flow = jnp.asarray(hessian), FreeEnergyFlow(rank=most, seed=0.0)
    iteration = Iteration(lambda w: jnp.sum(curvature * w**2) / 2 + jnp.sum(w), optax.sgd(0.1))
    y = begin(flow, iteration, iteration.init(jnp.zeros(len(hessian))))
    sharpness = flat_rows(y.basis) @ (0.1 * curvature * flat_rows(y.basis)).T
    np.testing.assert_allclose(np.linalg.eigvalsh(sharpness)[-1], 0.1 * max(hessian), rtol=1e-3)
    assert jnp.all(jnp.isfinite(flat_rows(increment(flow, iteration, y).basis)))


def test_the_leading_mode_of_a_saddle_is_found_from_where_it_is_level():
    """At e_1 + 0 the form w_1 w_2 is 0 and turns to e_2: no eigenvalue says how far."""
    flow, iteration = CentralFlow(modes=1), Iteration(lambda w: w[0] * w[1], optax.sgd(0.1))
    y = begin(flow, iteration, iteration.init(jnp.zeros(2)))
    y = y._replace(basis=jnp.array([[1.0, 0.0]]))
    level = moved(flow, iteration, y)
    np.testing.assert_allclose(level.sharpness, [0.0], atol=1e-12)
    y = jax.jit(lambda y: jax.lax.fori_loop(0, 30, lambda _, y: moved(flow, iteration, y), y))(
        level
    )
    np.testing.assert_allclose(2 * y.sharpness, [0.1], rtol=1e-3)


def test_no_more_modes_than_parameters(at_work):
    iteration, state, _ = at_work
    y = jax.eval_shape(lambda s: CentralFlow(modes=99).init(iteration, s), state)
    assert y.sharpness.shape == (10,)


def test_the_basis_moves_smoothly(at_work):
    """At an eigenspace it stands still, in whatever basis: no sign or order flips."""
    iteration, state, _ = at_work
    flow = FreeEnergyFlow(rank=3, seed=0.0)
    y = begin(flow, iteration, state)
    y = jax.lax.fori_loop(0, 100, lambda _, y: moved(flow, iteration, y), y)
    turn, _ = jnp.linalg.qr(jnp.asarray(np.random.default_rng(0).normal(size=(3, 3))))
    turned = jax.tree.map(lambda leaf: jnp.tensordot(turn, leaf, 1), y.basis)
    still = increment(flow, iteration, y._replace(basis=turned)).basis
    np.testing.assert_allclose(flat_rows(still), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "beyond"), [("rmsprop", 1), pytest.param("scalar_adam", 2, marks=pytest.mark.slow)]
)
def test_the_centre_feels_the_second_derivative_of_the_increment(
    name, beyond, network_loss, params
):
    """G + 1/2 sum_ij X_ij D^2 G[xi_i, xi_j], by nested differentiation of G in all of phase space.

    xi_i are the oscillations of parameters and momenta under the gradients that move the parameters
    by u_i.
    """
    build = rodflow.OPTIMIZERS[name]

    # A memory of three gradients, with the parameters where they are.
    still, flow = Iteration(network_loss, build(1e-9)), CentralFlow(modes=2)
    state = jax.lax.fori_loop(0, 3, lambda _, z: still.step(z), still.init(params))
    # The learning rate that brings so many modes beyond the edge: responses are proportional.
    lr = 1e-9 * 1.02 / float(begin(flow, still, state).sharpness[beyond - 1])
    iteration = Iteration(network_loss, build(lr))
    y = begin(flow, iteration, state)
    np.testing.assert_allclose(y.sharpness[beyond - 1], 1.02, rtol=1e-3)
    rate = increment(flow, iteration, y)
    covariance = y.covariance + rate.covariance
    assert jnp.all(jnp.linalg.eigvalsh(covariance)[-beyond:] > 0)

    coming = iteration.step(state)
    u = jax.tree.map(lambda s, v: s * v, y.scale, y.basis)
    # The parameters oscillate by half the response to the gradients.
    grads = jax.tree.map(lambda u, s: 2 * u / s**2, u, y.scale)
    xi = jax.vmap(lambda g: oscillation(iteration, coming, g))(grads)
    np.testing.assert_allclose(flat_rows(xi.params), flat_rows(u), rtol=1e-6, atol=1e-9)

    def displaced(s):
        """Return G, flat, at the state plus the sum of s_i xi_i."""
        at = jax.tree.map(
            lambda z, x: z if x is None else z + jnp.tensordot(s, x, 1),
            state,
            xi,
            is_leaf=lambda leaf: leaf is None,
        )
        return ravel_pytree(iteration.increment(at))[0]

    second = jax.jit(jax.hessian(displaced))(jnp.zeros(2))
    still = ravel_pytree(iteration.increment(state))[0]
    expected = jnp.einsum("ij,kij->k", covariance, second) / 2
    assert jnp.linalg.norm(expected) > 1e-3 * jnp.linalg.norm(still)
    drive = ravel_pytree(rate.z)[0] - still
    np.testing.assert_allclose(drive, expected, rtol=1e-5, atol=1e-9 * jnp.abs(still).max())


def test_momenta_move_with_the_parameters(network_loss, params):
    """Heavy ball in EMA form: at the edge m alternates by -2 u / lr, as w[t+1] - w[t] = -2 u."""
    iteration = Iteration(network_loss, rodflow.OPTIMIZERS["heavy_ball"](0.1, b1=0.6))
    state = iteration.init(params)
    found = jax.jit(lambda g: oscillation(iteration, state, g))(params)
    # m[t] took w[t-1] to w[t]: it alternates with the sign of that step, 2 u.
    momentum, moves = (ravel_pytree(tree)[0] for tree in (found.opt_state, found.params))
    np.testing.assert_allclose(momentum, -2 * moves / 0.1, rtol=1e-6)


def test_extent_and_loss_are_those_of_the_covariance(at_work):
    iteration, state, response = at_work
    flow = CentralFlow(modes=2)
    covariance = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    y = begin(flow, iteration, state)._replace(covariance=covariance)
    v = flat_rows(y.basis) * jnp.sqrt(response)
    sigma = v.T @ covariance @ v
    np.testing.assert_allclose(flow.extent(y), jnp.sqrt(jnp.trace(sigma)), rtol=1e-6)
    flat, _ = ravel_pytree(state.params)
    loss = flat_loss(iteration.loss, state.params)
    expected = loss(flat) + jnp.trace(jax.hessian(loss)(flat) @ sigma) / 2
    predicted = eqx.filter_jit(flow.predicted_loss)(iteration, y)
    np.testing.assert_allclose(predicted, expected, rtol=1e-6)
