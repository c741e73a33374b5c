"""Rows against dense matrices: a tree of two leaves, one of them None, is one matrix of rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from rodflow.linalg import rows


def drawn(seed, *lead):
    keys = jax.random.split(jax.random.key(seed))
    return {
        "w": jax.random.normal(keys[0], (*lead, 2, 3)),
        "none": None,
        "b": jax.random.normal(keys[1], (*lead, 4)),
    }


def dense(tree):
    return jax.vmap(lambda row: ravel_pytree(row)[0])(tree)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def positive():
    """A symmetric matrix with the eigenvalues 1, 4 and -1, and its eigenvectors."""
    vectors = jnp.linalg.qr(jax.random.normal(jax.random.key(3), (3, 3)))[0]
    return vectors @ jnp.diag(jnp.array([1.0, 4.0, -1.0])) @ vectors.T, vectors


def test_products_of_rows_are_those_of_matrices():
    a, b, metric = drawn(0, 3), drawn(1, 2), jax.tree.map(jnp.exp, drawn(2))
    weights = ravel_pytree(metric)[0]
    close(rows.gram(a, b), dense(a) @ dense(b).T)
    close(rows.gram(a, b, metric), dense(a) * weights @ dense(b).T)
    close(rows.along(a, metric), dense(a) @ weights)
    matrix = jnp.arange(6.0).reshape(2, 3)
    close(dense(rows.combine(matrix, a)), matrix @ dense(a))
    close(ravel_pytree(rows.pick(a, 1))[0], dense(a)[1])
    close(dense(rows.one(metric))[0], weights)


def test_orthonormal_rows_span_the_same_and_are_the_nearest():
    a, metric = drawn(0, 3), jax.tree.map(jnp.exp, drawn(2))
    scaled = dense(a) * jnp.sqrt(ravel_pytree(metric)[0])
    left, _, right = np.linalg.svd(scaled, full_matrices=False)  # the polar factor is the nearest
    found = rows.orthonormal(a, metric)
    close(rows.gram(found, found, metric), np.eye(3))
    close(dense(found) * jnp.sqrt(ravel_pytree(metric)[0]), left @ right)


def test_functions_of_a_matrix_take_its_positive_part(positive):
    matrix, vectors = positive
    close(rows.root(matrix), vectors @ jnp.diag(jnp.array([1.0, 2.0, 0.0])) @ vectors.T)
    floor = jnp.array(1.0)
    close(rows.inverse(matrix, floor), vectors @ jnp.diag(jnp.array([0.5, 0.2, 1.0])) @ vectors.T)
    close(rows.inverse_root(matrix, 0.25), vectors @ jnp.diag(jnp.array([1, 0.5, 2])) @ vectors.T)
