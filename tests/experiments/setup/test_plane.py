import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from experiments.problems import Problem
from experiments.setup.observers import effective_sharpness
from experiments.setup.plane import (
    OF_THE_CHAIN,
    OF_THE_HESSIAN,
    coordinates,
    direction,
    leading_modes,
)


def quadratic(size):
    """A quadratic with eigenvalues 1, 1/2, 1/3, ... in a random orthonormal basis, rows."""
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((size, size)))[0]
    matrix = jnp.asarray(basis.T @ np.diag(1 / np.arange(1.0, size + 1)) @ basis)
    return Problem(lambda w: w["a"] @ matrix @ w["a"] / 2, lambda key: {}), basis


def after(problem, tx, steps, size):
    iteration = rodflow.Iteration(problem.loss, tx)
    state = iteration.init({"a": jnp.linspace(1.0, 2.0, size)})
    return jax.lax.fori_loop(0, steps, lambda _, z: iteration.step(z), state)


@pytest.mark.parametrize("size", [5, 100])  # all eigenvectors, and the leading ones alone
def test_for_gradient_descent_it_is_the_projection_on_two_eigenvectors(size):
    problem, basis = quadratic(size)
    tx = optax.sgd(0.5)
    state = after(problem, tx, 3, size)
    found = leading_modes(problem, tx, state)
    assert found.meaning == OF_THE_CHAIN
    np.testing.assert_allclose(found.sharpness, [0.25, 0.125], rtol=1e-3)
    np.testing.assert_allclose(coordinates(found.plane, state.params), 0, atol=1e-6)
    move = {"a": jnp.asarray(basis[0] - 2 * basis[1] + 3 * basis[2])}
    seen = np.abs(direction(found.plane, move))
    np.testing.assert_allclose(seen, [1, 2], rtol=1e-2)
    assert (np.abs(found.plane.covectors).max(axis=1) == found.plane.covectors.max(axis=1)).all()


def test_a_mode_of_an_adaptive_chain_moves_one_coordinate_by_its_length():
    size = 6
    problem, _ = quadratic(size)
    tx = rodflow.OPTIMIZERS["rmsprop"](0.01)
    state = after(problem, tx, 5, size)
    found = leading_modes(problem, tx, state)
    response = rodflow.curvature.nyquist_response(rodflow.Iteration(problem.loss, tx), state)["a"]
    root = np.sqrt(np.asarray(response, float))
    matrix = np.asarray(jax.hessian(lambda a: problem.loss({"a": a}))(state.params["a"]), float)
    values, vectors = np.linalg.eigh(root[:, None] * matrix * root)
    np.testing.assert_allclose(found.sharpness, values[::-1][:2] / 2, rtol=1e-4)
    np.testing.assert_allclose(
        found.sharpness, effective_sharpness(problem, tx, state, 2), rtol=1e-4
    )
    for mode in range(size):
        move = root * vectors[:, -1 - mode]
        expected = np.linalg.norm(move) * np.eye(2, size)[:, mode]
        seen = direction(found.plane, {"a": jnp.asarray(move)})
        np.testing.assert_allclose(np.abs(seen), expected, atol=1e-3 * np.linalg.norm(move))


@pytest.mark.parametrize("tx", [optax.sign_sgd(0.1), rodflow.if_shampoo(0.1, batch_size=1)])
def test_a_chain_without_an_elementwise_response_leaves_the_plain_hessian(tx):
    problem = Problem(lambda w: jnp.sum(w["a"] ** 2 * jnp.array([[2.0, 1.0], [0.5, 0.1]])), None)
    iteration = rodflow.Iteration(problem.loss, tx)
    state = iteration.step(iteration.init({"a": jnp.ones((2, 2))}))
    found = leading_modes(problem, tx, state)
    assert found.meaning == OF_THE_HESSIAN
    np.testing.assert_allclose(found.sharpness, [4, 2], rtol=1e-4)
    np.testing.assert_allclose(np.abs(found.plane.covectors), np.eye(2, 4), atol=1e-4)


@pytest.mark.parametrize("start", [[jnp.nan, 1.0], [1e30, 1.0], [1.0]])
def test_there_is_none_where_the_numbers_end_or_for_one_parameter(start):
    problem, tx = Problem(lambda w: jnp.sum(jnp.exp(w)), None), optax.sgd(0.1)
    state = rodflow.PhaseState(jnp.asarray(start), tx.init(jnp.asarray(start)))
    assert leading_modes(problem, tx, state) is None
