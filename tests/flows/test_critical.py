"""The leading modes against dense matrices, on a network of ten parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow
from rodflow import Iteration, PhaseState
from rodflow.flows import _critical as critical
from rodflow.linalg import rows

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


def flat_loss(loss, params):
    _, unravel = ravel_pytree(params)
    return lambda w: loss(unravel(w))


first_modes = jax.jit(critical.first_modes, static_argnums=(0, 2))


def follow(iteration, z, basis):
    return critical.next_basis(critical.leading(iteration, z, basis))


def flat_rows(tree):
    return jax.vmap(lambda row: ravel_pytree(row)[0])(tree)


def test_modes_are_those_of_the_dense_matrix(at_work):
    iteration, state, response = at_work
    flat, _ = ravel_pytree(state.params)
    hessian = jax.hessian(flat_loss(iteration.loss, state.params))(flat)
    scale = jnp.sqrt(response)
    dense, vectors = jnp.linalg.eigh(scale[:, None] * hessian * scale)
    modes = first_modes(iteration, state, 3)
    np.testing.assert_allclose(modes.values, dense[::-1][:3], rtol=1e-5)
    overlap = jnp.abs(flat_rows(modes.vectors) @ vectors[:, ::-1][:, :3])
    np.testing.assert_allclose(overlap, np.eye(3), atol=1e-3)
    np.testing.assert_allclose(
        flat_rows(modes.displacements), flat_rows(modes.vectors) * scale, rtol=1e-10
    )
    np.testing.assert_allclose(
        flat_rows(modes.products), flat_rows(modes.displacements) @ hessian, atol=1e-9
    )


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
    curvature = jnp.asarray(hessian)
    iteration = Iteration(lambda w: jnp.sum(curvature * w**2) / 2 + jnp.sum(w), optax.sgd(0.1))
    modes = first_modes(iteration, iteration.init(jnp.zeros(len(hessian))), most)
    np.testing.assert_allclose(modes.values[0], 0.1 * max(hessian), rtol=1e-3)
    assert jnp.all(jnp.isfinite(flat_rows(jax.jit(critical.next_basis)(modes))))


def test_the_leading_mode_of_a_saddle_is_found_from_where_it_is_level():
    """At e_1 + 0 the form w_1 w_2 is 0 and turns to e_2: no eigenvalue says how far."""
    iteration = Iteration(lambda w: w[0] * w[1], optax.sgd(0.1))
    z, basis = iteration.init(jnp.zeros(2)), jnp.array([[1.0, 0.0]])
    leading = jax.jit(lambda basis: critical.leading(iteration, z, basis))
    turned = jax.jit(lambda b: jax.lax.fori_loop(0, 30, lambda _, b: follow(iteration, z, b), b))
    np.testing.assert_allclose(leading(turned(basis)).values, [0.1], rtol=1e-3)


def test_no_more_modes_than_parameters(at_work):
    iteration, state, _ = at_work
    modes = jax.eval_shape(lambda s: critical.first_modes(iteration, s, 99), state)
    assert modes.values.shape == (10,)


def test_the_basis_moves_smoothly(at_work):
    """At an eigenspace it stands still, in whatever basis: no sign or order flips."""
    iteration, state, _ = at_work
    modes = first_modes(iteration, state, 3)
    further = jax.jit(lambda b: follow(iteration, state, b))
    basis = jax.lax.fori_loop(0, 100, lambda _, b: further(b), modes.vectors)
    turn, _ = jnp.linalg.qr(jnp.asarray(np.random.default_rng(0).normal(size=(3, 3))))
    turned = rows.combine(turn, basis)
    after = further(turned)
    np.testing.assert_allclose(flat_rows(after), flat_rows(turned), atol=1e-6)


def test_second_derivative_of_the_increment(at_work):
    """D^2 G[a, b] from products and third derivatives, against nested differentiation of G."""
    iteration, state, _ = at_work
    random = np.random.default_rng(2)

    def draw():
        like = jax.tree.map(lambda w: jnp.asarray(random.normal(size=w.shape)), state.params)
        nothing = jax.tree.map(lambda _: None, state.opt_state)
        return PhaseState(like, nothing)

    a, b = draw(), draw()

    def product(x):
        return jax.jvp(jax.grad(iteration.loss), (state.params,), (x.params,))[1]

    @jax.jit
    def second():
        third = critical.third_derivative(iteration, state, a.params, b.params)
        grads = jax.grad(iteration.loss)(state.params)
        ends = (a, product(a)), (b, product(b))
        return critical.second_derivative(iteration, state, grads, *ends, third)

    found = second()

    def increment(s, t):
        moved = jax.tree.map(lambda w, x, y: w + s * x + t * y, state.params, a.params, b.params)
        return ravel_pytree(iteration.increment(state._replace(params=moved)))[0]

    expected = jax.jit(jax.jacfwd(jax.jacfwd(increment), 1))(0.0, 0.0)
    np.testing.assert_allclose(ravel_pytree(found)[0], expected, rtol=1e-8, atol=1e-12)


def test_momenta_move_with_the_parameters(network_loss, params):
    """Heavy ball in EMA form: at the edge m alternates by -2 u / lr, as w[t+1] - w[t] = -2 u."""
    iteration = Iteration(network_loss, rodflow.OPTIMIZERS["heavy_ball"](0.1, b1=0.6))
    state = iteration.init(params)
    modes = first_modes(iteration, state, 2)
    moved = critical.phase_displacements(iteration, modes, modes.displacements)
    np.testing.assert_allclose(flat_rows(moved.params), flat_rows(modes.displacements))
    momentum = flat_rows(moved.opt_state)
    # m[t] took w[t-1] to w[t]: it alternates with the sign of that step, 2 u.
    np.testing.assert_allclose(momentum, -2 * flat_rows(moved.params) / 0.1, rtol=1e-6)


def test_pairs_of_the_first_modes_come_first():
    for a in range(1, 5):
        first = critical.pairs(5)[: a * (a + 1) // 2]
        assert {tuple(p) for p in first} == {(i, j) for j in range(a) for i in range(j + 1)}
    place = critical.pair_of(5)
    for p, (i, j) in enumerate(critical.pairs(5)):
        assert place[i, j] == place[j, i] == p


def test_amplitudes_have_the_covariance(at_work):
    iteration, state, response = at_work
    modes = first_modes(iteration, state, 2)
    covariance = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    u = flat_rows(critical.amplitudes(iteration, state, modes.vectors, covariance))
    v = flat_rows(modes.vectors) * jnp.sqrt(response)
    np.testing.assert_allclose(u.T @ u, v.T @ covariance @ v, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        critical.length(critical.amplitudes(iteration, state, modes.vectors, covariance)),
        jnp.sqrt(jnp.trace(u.T @ u)),
    )
    flat, _ = ravel_pytree(state.params)
    loss = flat_loss(iteration.loss, state.params)
    expected = loss(flat) + jnp.trace(jax.hessian(loss)(flat) @ u.T @ u) / 2
    amplitudes = critical.amplitudes(iteration, state, modes.vectors, covariance)
    np.testing.assert_allclose(critical.mean_loss(iteration, state, amplitudes), expected)
