"""The realized edge, its factors and the directional sharpness, against exact results."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow

NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2  # on [0, 1]


def averaged_hessian_product(loss, w, dw):
    """dw' Hbar dw with Hbar = 2 int (1 - s) H(w + s dw) ds, by quadrature."""

    def product(s):
        return dw @ jax.jvp(jax.grad(loss), (w + s * dw,), (dw,))[1]

    return sum(2 * (1 - s) * c * product(s) for s, c in zip(NODES, WEIGHTS, strict=True))


def network(w):
    """A tanh network of two neurons on six points; `w` holds ten weights."""
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(6, 4)), rng.normal(size=6)
    return jnp.mean((jnp.tanh(inputs @ w[:8].reshape(4, 2)) @ w[8:] - targets) ** 2) / 2


def form(w):
    root = np.random.default_rng(1).normal(size=(12, 10))
    return jnp.sum((root @ w) ** 2) / 24


@pytest.mark.parametrize("loss", [form, network])
@pytest.mark.parametrize("name", ["gd", "heavy_ball", "nesterov", "rmsprop", "adam", "nadam"])
def test_the_factors_make_the_realized_edge_and_are_those_of_the_averaged_hessian(x64, name, loss):
    tx = rodflow.OPTIMIZERS[name](0.05)
    iteration = rodflow.Iteration(loss, tx)
    state = iteration.init(jnp.asarray(np.random.default_rng(2).normal(size=10)))
    for _ in range(3):
        state = iteration.step(state)
    w, after = state.params, iteration.step(state).params
    g, dw = jax.grad(loss)(w), after - w
    # Factors of the step under a given metric and chi: any positive ones make an identity.
    r = jnp.exp(jnp.asarray(np.random.default_rng(3).normal(size=10)))
    chi = jnp.asarray(0.7)
    zeta, same, s, tau = rodflow.edge_factors(loss(w), loss(after), g, dw, r, chi)
    curved, length = averaged_hessian_product(loss, w, dw), jnp.sum(dw**2 / r)
    np.testing.assert_allclose(zeta, -curved / (2 * g @ dw), rtol=1e-9)
    np.testing.assert_allclose(s, curved / (2 * chi * length), rtol=1e-9)
    np.testing.assert_allclose(tau, -(g @ dw) / length, rtol=1e-12)
    np.testing.assert_allclose(same * s / tau, zeta, rtol=1e-12)


@pytest.mark.parametrize(
    ("axis", "alignment", "tau", "zeta"),
    [
        (0, 1, Fraction(16, 39), Fraction(13, 80)),
        (1, Fraction(1, 4), Fraction(38, 87), Fraction(29, 760)),
    ],
)
def test_the_published_numbers_of_a_quadratic(x64, axis, alignment, tau, zeta):
    """Lee and Lee 2026 (arXiv 2608.18415), Appendix B.7: EMA heavy ball 1/2, lr .1, second step."""
    curvatures = jnp.array([4.0, 1.0])

    def loss(w):
        return jnp.sum(curvatures * w**2) / 2

    iteration = rodflow.Iteration(loss, rodflow.heavy_ball(0.1, b1=0.5))
    state = iteration.step(iteration.init(jnp.eye(2)[axis]))
    after = iteration.step(state).params
    w, dw = state.params, after - state.params
    factors = rodflow.edge_factors(
        loss(w),
        loss(after),
        jax.grad(loss)(w),
        dw,
        rodflow.nyquist_response(iteration, state),
        rodflow.effective_sharpness(loss, iteration.tx, state)[0],
    )
    expected = [float(x) for x in (zeta, Fraction(1, 15), alignment, tau)]
    np.testing.assert_allclose(factors, expected, rtol=1e-9)


def test_directional_sharpness_and_secant_are_the_realized_edge_on_a_quadratic(x64):
    w, dw = (jnp.asarray(np.random.default_rng(seed).normal(size=10)) for seed in (4, 5))
    g, after = jax.grad(form)(w), jax.grad(form)(w + dw)
    zeta = rodflow.realized_edge(form(w), form(w + dw), g, dw)
    np.testing.assert_allclose(rodflow.directional_sharpness(form, w, g, dw), zeta, rtol=1e-9)
    np.testing.assert_allclose(rodflow.secant_sharpness(g, after, dw), zeta, rtol=1e-9)


def test_the_loss_falls_if_and_only_if_zeta_is_below_one():
    w, lost = jnp.array(1.0), lambda w: 3 * w**2
    for step, falls in ((-1.9, True), (-2.1, False)):
        zeta = rodflow.realized_edge(lost(w), lost(w + step), jax.grad(lost)(w), jnp.array(step))
        assert (zeta < 1) == falls == (lost(w + step) < lost(w))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_change_below_rounding_is_no_reading(dtype):
    unit = float(jnp.finfo(dtype).eps)
    loss = jnp.array(1.0, dtype)
    for slope, read in ((31 * unit, False), (40 * unit, True)):
        zeta = rodflow.realized_edge(loss, loss, jnp.array(slope), jnp.array(-1.0))
        assert bool(jnp.isnan(zeta)) != read
    assert zeta.dtype == jnp.float32


def test_bf16_parameters_are_measured_in_single_precision():
    params = {"w": jnp.ones(300, jnp.bfloat16), "b": jnp.ones((), jnp.bfloat16)}
    grads = jax.tree.map(jnp.ones_like, params)
    step = jax.tree.map(lambda p: jnp.full_like(p, -1 / 256), params)

    def loss(p):
        return optax.tree.norm(jax.tree.map(lambda x: x.astype(jnp.float32), p), squared=True) / 2

    found = rodflow.directional_sharpness(loss, params, grads, step)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, 1 / 512, rtol=1e-6)
