import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from rodflow.lanczos import largest_eigenvalues


def symmetric(values, size=60):
    """A matrix of these eigenvalues, and zeros."""
    spectrum = np.zeros(size)
    spectrum[: len(values)] = values
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))
    return rotation * spectrum @ rotation.T


def metric(size=60):
    root = np.random.default_rng(1).normal(size=(size, size)) / size**0.5
    return root @ root.T + np.eye(size) / 2


def start(size=60):
    return jax.random.normal(jax.random.key(0), (size,))


@pytest.mark.parametrize("in_metric", [False, True])
@pytest.mark.parametrize(
    "values",
    [[], [6.0], [5.0, 5.0, 5.0], [7.0, 1.0, -40.0], [-3.0] * 60, [1e-12, 1e-13], np.arange(60.0)],
    ids=["zero", "one", "multiple", "indefinite", "negative", "small", "full"],
)
def test_eigenvalues_of_any_rank(values, in_metric):
    """Where the Krylov space ends early, in single precision, where its end is only rounding."""
    matrix, r = symmetric(values), metric() if in_metric else np.eye(60)
    expected = np.sort(np.linalg.eigvals(r @ matrix).real)[::-1][:5]
    a, r = (jnp.asarray(x, jnp.float32) for x in (matrix, r))
    respond = (lambda g: r @ g) if in_metric else None
    depth = 30 if len(values) < 30 else 60
    found = largest_eigenvalues(lambda v: a @ v, start(), 5, depth, respond)
    atol = 1e-5 * np.max(np.abs(values), initial=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol)


def test_a_metric_that_is_singular_or_zero():
    a, frozen = jnp.asarray(symmetric([3.0, 2.0]), jnp.float32), jnp.arange(60) < 50
    respond = lambda g: jnp.where(frozen, 0, g)  # noqa: E731
    free = np.asarray(a)[50:, 50:]
    expected = [*np.linalg.eigvalsh(free)[::-1][:2], 0]
    found = largest_eigenvalues(lambda v: a @ v, start(), 3, 30, respond)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    found = largest_eigenvalues(lambda v: a @ v, start(), 3, 30, jnp.zeros_like)
    np.testing.assert_array_equal(found, np.full(3, np.nan))


def test_lanes_of_different_rank():
    ranks = [[], [4.0], [4.0, 4.0, 2.0], list(range(1, 31))]
    matrices = jnp.asarray([symmetric(values) for values in ranks], jnp.float32)
    one = lambda a: largest_eigenvalues(lambda v: a @ v, start(), 3, 40)  # noqa: E731
    expected = [sorted([*values, 0, 0, 0], reverse=True)[:3] for values in ranks]
    np.testing.assert_allclose(jax.jit(jax.vmap(one))(matrices), expected, rtol=1e-4, atol=1e-4)


def few_samples(count, size=200):
    x = jnp.asarray(np.random.default_rng(count).normal(size=(count, size)), jnp.float32)
    return (lambda w: jnp.mean((x @ w - 1) ** 2) / 2), np.linalg.norm(x, 2) ** 2 / count


@pytest.mark.parametrize("elementwise", [True, False])
@pytest.mark.parametrize("count", [1, 3, 10])
def test_the_edge_of_a_fit_to_few_samples(count, elementwise):
    loss, sharpness = few_samples(count)
    state = rodflow.Iteration(loss, optax.sgd(0.1)).init(jnp.zeros(200))
    found = rodflow.effective_sharpness(loss, optax.sgd(0.1), state, 2, elementwise)
    np.testing.assert_allclose(found[0], 0.1 * sharpness / 2, rtol=1e-4)
    assert found[1] < found[0]


def test_the_edge_of_a_network_that_is_frozen_but_for_two_weights():
    loss = lambda p: 2 * jnp.sum(p["trained"] ** 2) + 50 * jnp.sum(p["frozen"] ** 2)  # noqa: E731
    params = {"trained": jnp.ones(2), "frozen": jnp.ones(50)}
    labels = {"trained": "sgd", "frozen": "zero"}
    tx = optax.partition({"sgd": optax.sgd(0.1), "zero": optax.set_to_zero()}, labels)
    state = rodflow.Iteration(loss, tx).init(params)
    found = rodflow.effective_sharpness(loss, tx, state, 3)
    np.testing.assert_allclose(found, [0.2, 0.2, 0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("elementwise", [True, False])
def test_an_update_that_does_not_respond_has_no_edge(elementwise):
    loss, _ = few_samples(3)
    for tx in (optax.lion(0.1), optax.set_to_zero()):
        state = rodflow.Iteration(loss, tx).init(jnp.ones(200))
        found = rodflow.effective_sharpness(loss, tx, state, 1, elementwise)
        np.testing.assert_array_equal(found, [np.nan])


def test_parameters_in_bfloat16():
    matrix = symmetric([3.0, 1.0])
    found = rodflow.sharpness(
        lambda w: w @ jnp.asarray(matrix, jnp.bfloat16) @ w / 2, jnp.zeros(60, jnp.bfloat16)
    )
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [3], rtol=0.03)
