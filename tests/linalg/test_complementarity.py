import cvxpy
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.linalg.complementarity import complementary, kkt_residual

SIZES = (1, 2, 4, pytest.param(7, marks=pytest.mark.slow), 10)
residual = jax.jit(kkt_residual)


@pytest.fixture
def solve():
    # One program for each size and dtype.
    return jax.jit(complementary)


def symmetric(random, k):
    matrix = random.normal(size=(k, k))
    return (matrix + matrix.T) / 2


def monotone(random, k, skew=0.0):
    """T T' for third derivatives T in a hundred dimensions, and a part without energy."""
    thirds = random.normal(size=(k, k, 100))
    thirds = thirds + thirds.transpose(1, 0, 2)
    operator = np.einsum("ijn,lmn->ijlm", thirds, thirds)
    other = random.normal(size=(k, k, k, k))
    other = other + other.transpose(1, 0, 2, 3)
    other = other + other.transpose(0, 1, 3, 2)
    return operator + skew * (other - other.transpose(2, 3, 0, 1))


def solved_by_construction(random, k, operator):
    """X and Y of complementary ranks, and the Q of which they are the solution."""
    vectors, _ = np.linalg.qr(random.normal(size=(k, k)))
    values = random.uniform(0.1, 1, size=k)
    first = np.arange(k) < (k + 1) // 2
    x = (vectors * np.where(first, values, 0)) @ vectors.T / 100
    y = (vectors * np.where(first, 0, values)) @ vectors.T
    return x, y - np.einsum("ijlm,lm->ij", operator, x)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("k", SIZES)
def test_known_solutions(k, solve):
    """Also of operators that are not symmetric, of which there is no convex problem."""
    for seed in range(5):
        random = np.random.default_rng(seed)
        operator = monotone(random, k, skew=seed)
        x, q = solved_by_construction(random, k, operator)
        found = solve(jnp.asarray(q), jnp.asarray(operator))
        np.testing.assert_allclose(found, x, atol=1e-8 * np.linalg.norm(x))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("k", SIZES)
def test_random_problems_against_a_convex_solver(k, solve):
    """For a symmetric operator X minimizes <X, B X> / 2 + <Q, X> over X >= 0."""
    random = np.random.default_rng(k)
    operator, q = monotone(random, k), symmetric(random, k)
    flat = operator.reshape(k * k, k * k)
    x = cvxpy.Variable((k, k), PSD=True)
    vector = cvxpy.vec(x, order="C")
    energy = cvxpy.quad_form(vector, cvxpy.psd_wrap(flat)) / 2 + cvxpy.trace(q @ x)
    cvxpy.Problem(cvxpy.Minimize(energy)).solve(solver="CLARABEL")
    found = solve(jnp.asarray(q), jnp.asarray(operator))
    assert residual(found, jnp.asarray(q), jnp.asarray(operator)) < 1e-10
    np.testing.assert_allclose(found, x.value, atol=1e-4 * np.linalg.norm(x.value) + 1e-8)


@pytest.mark.parametrize("k", SIZES)
def test_single_precision(k, solve):
    for seed in range(5):
        random = np.random.default_rng(seed)
        operator = jnp.asarray(monotone(random, k), jnp.float32)
        q = jnp.asarray(symmetric(random, k), jnp.float32)
        assert residual(solve(q, operator), q, operator) < 1e-5


@pytest.mark.usefixtures("x64")
def test_scales_of_the_modes_do_not_matter(solve):
    random = np.random.default_rng(0)
    operator, q = monotone(random, 4), symmetric(random, 4)
    x = solve(jnp.asarray(q), jnp.asarray(operator))
    d = np.array([0.1, 1.0, 3.0, 10.0])
    pairs = d[:, None] * d
    scaled = operator * pairs[:, :, None, None] * pairs
    other = solve(jnp.asarray(q * pairs), jnp.asarray(scaled))
    np.testing.assert_allclose(other * pairs, x, atol=1e-9 * np.linalg.norm(x))


@pytest.mark.usefixtures("x64")
def test_lanes_are_problems_of_their_own(solve):
    random = np.random.default_rng(1)
    operators = jnp.asarray([monotone(random, 3) for _ in range(4)])
    qs = jnp.asarray([symmetric(random, 3) for _ in range(4)]).at[0].set(jnp.eye(3))
    lanes = jax.jit(jax.vmap(complementary))(qs, operators)
    for lane, q, operator in zip(lanes, qs, operators, strict=True):
        np.testing.assert_allclose(lane, solve(q, operator), atol=1e-12)
    np.testing.assert_array_equal(lanes[0], 0)  # Q >= 0


@pytest.mark.parametrize("k", [1, 2])
def test_where_there_is_no_solution(k, solve):
    """A quadratic beyond the edge: no oscillation reduces its sharpness."""
    x = solve(-0.1 * np.eye(k), np.zeros((k, k, k, k)))
    assert jnp.all(jnp.isnan(x))


def test_the_residual_tells_a_solution_from_another_point():
    q, operator = -jnp.eye(1), jnp.ones((1, 1, 1, 1))
    assert residual(jnp.ones((1, 1)), q, operator) == 0
    assert residual(jnp.full((1, 1), 1.1), q, operator) > 0.05
