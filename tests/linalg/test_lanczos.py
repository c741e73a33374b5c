import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from rodflow.linalg.lanczos import largest_eigenvalues


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


SPECTRA = {
    "zero": [],
    "one": [6.0],
    "multiple": [5.0, 5.0, 5.0],
    "indefinite": [7.0, 1.0, -40.0],
    "small": [1e-12, 1e-13],
    "negative": [-3.0] * 60,
    "full": np.arange(60.0),
}


@pytest.mark.parametrize("in_metric", [False, True])
@pytest.mark.parametrize("depth", [30, 60])
def test_eigenvalues_of_any_rank(depth, in_metric):
    """Where the Krylov space ends early, in single precision, where its end is only rounding."""
    r = metric() if in_metric else np.eye(60)
    spectra = {name: v for name, v in SPECTRA.items() if len(v) < depth or depth == 60}
    matrices = np.stack([symmetric(values) for values in spectra.values()])

    @jax.jit
    @jax.vmap
    def lanes(a):
        narrow = jnp.asarray(r, jnp.float32)
        respond = (lambda g: narrow @ g) if in_metric else None
        return largest_eigenvalues(lambda v: a @ v, start(), 5, depth, respond)

    found = lanes(jnp.asarray(matrices, jnp.float32))
    for lane, (name, values) in enumerate(spectra.items()):
        expected = np.sort(np.linalg.eigvals(r @ matrices[lane]).real)[::-1][:5]
        atol = 1e-5 * np.max(np.abs(values), initial=0)
        np.testing.assert_allclose(found[lane], expected, rtol=1e-4, atol=atol, err_msg=name)


def test_a_metric_that_is_singular_or_zero():
    a, frozen = jnp.asarray(symmetric([3.0, 2.0]), jnp.float32), jnp.arange(60) < 50
    respond = lambda g: jnp.where(frozen, 0, g)  # noqa: E731
    free = np.asarray(a)[50:, 50:]
    expected = [*np.linalg.eigvalsh(free)[::-1][:2], 0]

    @jax.jit
    def both():
        product = lambda v: a @ v  # noqa: E731
        return [largest_eigenvalues(product, start(), 3, 30, r) for r in (respond, jnp.zeros_like)]

    singular, zero = both()
    np.testing.assert_allclose(singular, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(zero, np.full(3, np.nan))


def few_samples(count, size=200):
    x = jnp.asarray(np.random.default_rng(count).normal(size=(count, size)), jnp.float32)
    return (lambda w: jnp.mean((x @ w - 1) ** 2) / 2), np.linalg.norm(x, 2) ** 2 / count


@pytest.mark.parametrize("elementwise", [True, False])
@pytest.mark.parametrize("count", [1, 10])
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


@pytest.mark.parametrize(
    ("tx", "elementwise"), [(optax.lion(0.1), True), (optax.set_to_zero(), False)]
)
def test_an_update_that_does_not_respond_has_no_edge(tx, elementwise):
    loss, _ = few_samples(3)
    state = rodflow.Iteration(loss, tx).init(jnp.ones(200))
    found = rodflow.effective_sharpness(loss, tx, state, 1, elementwise)
    np.testing.assert_array_equal(found, [np.nan])


def test_parameters_in_bfloat16():
    matrix = symmetric([3.0, 1.0])
    loss = lambda w: w @ jnp.asarray(matrix, jnp.bfloat16) @ w / 2  # noqa: E731
    found = jax.jit(lambda w: rodflow.sharpness(loss, w))(jnp.zeros(60, jnp.bfloat16))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [3], rtol=0.03)
