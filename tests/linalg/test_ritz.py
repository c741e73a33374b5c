import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.linalg import largest_eigenpairs, refine_eigenpairs

SIZE = 80


def turning(angle, seed=0):
    """A symmetric matrix with a dense spectrum and a few outliers, turned by an angle."""
    random = np.random.default_rng(seed)
    spectrum = np.concatenate([np.linspace(-1, 1, SIZE - 4), [3.0, 4.0, 6.0, 9.0]])
    rotation, _ = np.linalg.qr(random.normal(size=(SIZE, SIZE)))
    turn = random.normal(size=(SIZE, SIZE)) / SIZE**0.5
    half = angle * (turn - turn.T) / 2
    step = np.linalg.solve(np.eye(SIZE) - half, np.eye(SIZE) + half)
    rotation = step @ rotation
    return rotation * spectrum @ rotation.T


@pytest.mark.parametrize("k", [1, 2])
def test_the_leading_modes_of_a_turning_matrix_are_followed(k, x64):
    """From call to call they turn by a tenth; two k + 1 products keep them to a percent."""
    vectors = jnp.asarray(np.random.default_rng(1).normal(size=(k + 1, SIZE)))
    refine = jax.jit(lambda a, v: refine_eigenpairs(lambda x: a @ x, v, k))
    for _ in range(30):
        vectors = refine(turning(0.0), vectors).vectors
    for call in range(1, 20):
        matrix = turning(0.1 * call)
        pairs = refine(matrix, vectors)
        vectors = pairs.vectors
        exact = np.linalg.eigvalsh(matrix)[::-1][:k]
        np.testing.assert_allclose(pairs.values[:k], exact, rtol=0.01)
        # Rayleigh quotients are from below, and an eigenvalue is within the residual.
        assert np.all(pairs.values[:k] <= exact + 1e-12)
        assert np.all(exact - pairs.values[:k] <= pairs.residuals[:k] + 1e-12)
        np.testing.assert_allclose(vectors @ vectors.T, np.eye(k + 1), atol=1e-10)


def test_the_eigenpairs_of_lanczos_have_the_residuals_they_say(x64):
    matrix = jnp.asarray(turning(0.3))
    start = jnp.asarray(np.random.default_rng(2).normal(size=SIZE))
    pairs = largest_eigenpairs(lambda v: matrix @ v, start, 5, 20)
    left = pairs.vectors @ matrix - pairs.values[:, None] * pairs.vectors
    np.testing.assert_allclose(pairs.residuals, np.linalg.norm(left, axis=1), atol=1e-10)
    exact = np.linalg.eigvalsh(matrix)[::-1][:5]
    assert np.all(np.abs(exact - pairs.values) <= pairs.residuals + 1e-10)
