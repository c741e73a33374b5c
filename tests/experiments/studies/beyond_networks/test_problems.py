import jax.numpy as jnp
import numpy as np

from experiments.studies.beyond_networks.problems import factorization, separable, squared_error


def test_the_infimum_of_a_factorization_is_what_the_singular_values_say():
    # Of a rank it can reach, an exact alternating least squares finds it.
    problem = factorization(30, 2, 3)
    x, y = (np.asarray(part, float) for part in problem.samples)
    left = np.random.default_rng(0).normal(size=(10, 2))
    for _ in range(200):
        right = np.linalg.lstsq(x, y @ np.linalg.pinv(left).T, rcond=None)[0].T
        left = np.linalg.lstsq(x @ right.T, y, rcond=None)[0].T
    loss = squared_error([jnp.asarray(right), jnp.asarray(left)], problem.samples)
    np.testing.assert_allclose(loss, problem.infimum, rtol=1e-4)


def test_points_keep_the_margin_of_one_hyperplane():
    problem = separable(100, 5, 0.2, 0)
    # The classes can be separated, and by no plane better than by about the one they were made of.
    x = np.concatenate([problem.samples.inputs, problem.held_out.inputs])
    y = np.concatenate([problem.samples.targets, problem.held_out.targets])
    direction = np.random.default_rng([0, 0]).normal(size=5)
    margins = y * (x @ direction) / np.linalg.norm(direction)
    assert 0.2 <= margins.min() < 0.25
