import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from experiments.benchmarks import onset
from experiments.problems import Problem


def test_what_alternates_is_found_on_a_smooth_motion():
    t = np.arange(40)[:, None]
    smooth = np.array([1.0, -2.0]) * np.sin(t / 20) + 0.01 * t
    part = np.array([3e-6, -1e-5]) * np.exp(t / 50)
    path = smooth + (-1.0) ** t * part
    found = (-1) ** 7 * onset.alternating(path, 7)
    np.testing.assert_allclose(found, part[11], rtol=0.01)  # as it is half way


def test_sharpest_direction_is_the_top_eigenvector_in_the_metric():
    hessian = jnp.diag(jnp.array([4.0, 1.0, -2.0])) + 0.1
    iteration = rodflow.Iteration(lambda w: w @ hessian @ w / 2, optax.sgd(0.4))
    sharpness, covector = onset.sharpest(iteration, iteration.init(jnp.ones(3)))
    values, vectors = np.linalg.eigh(0.4 * hessian / 2)
    np.testing.assert_allclose(sharpness, values[-1], rtol=1e-5)
    np.testing.assert_allclose(np.abs(covector @ vectors), [0, 0, 1], atol=1e-4)


def test_before_the_edge_the_iterates_of_a_quadratic_hold_no_more_than_rounding():
    curvatures = jnp.array([2.0, 1.0, 0.5])
    problem = Problem(lambda w: w @ (curvatures * w) / 2, lambda key: jax.random.normal(key, (3,)))
    seen = list(onset.followed(problem, "gd", 0.5, warmup=0, records=2))
    assert [each.step for each in seen] == [0, 10, 20]
    for each in seen:
        assert each.sharpness == pytest.approx(0.5, rel=1e-5)
    assert seen[-1].iterates < 1e-6
    assert seen[-1].rod < 1e-6
