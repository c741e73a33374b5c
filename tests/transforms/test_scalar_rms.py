"""Scalar RMSProp against NumPy, against Optax on one parameter, and under rotations."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow.transforms import scalar_rmsprop, scale_by_scalar_rms


def gradients(shapes, num_steps=10, seed=0):
    rng = np.random.default_rng(seed)
    return [{k: rng.normal(size=s) for k, s in shapes.items()} for _ in range(num_steps)]


def updates_of(tx, grads) -> tuple[list[Any], Any]:
    state, out, update = tx.init(grads[0]), [], jax.jit(tx.update)
    for g in grads:
        u, state = update(jax.tree.map(jnp.asarray, g), state)
        out.append(u)
    return out, state


@pytest.mark.parametrize("bias_correction", [True, False])
def test_numpy_over_ten_steps(bias_correction):
    grads = gradients({"w": (3, 2), "b": (4,), "s": ()})
    b2, eps = 0.95, 1e-2
    nu = 0.0
    with jax.enable_x64(True):
        got, state = updates_of(scale_by_scalar_rms(b2, eps, bias_correction), grads)
        for t, (g, u) in enumerate(zip(grads, got, strict=True), start=1):
            nu = b2 * nu + (1 - b2) * sum(np.sum(leaf**2) for leaf in g.values())
            nu_hat = nu / (1 - b2**t) if bias_correction else nu
            expected = {k: leaf / (np.sqrt(nu_hat) + eps) for k, leaf in g.items()}
            chex.assert_trees_all_close(u, expected, rtol=1e-12)
        assert state.count == 10
        np.testing.assert_allclose(state.nu, nu, rtol=1e-12)


@pytest.mark.parametrize("bias_correction", [True, False])
def test_one_parameter_is_optax_rmsprop(bias_correction):
    grads = gradients({"x": ()})
    ours = scalar_rmsprop(0.1, b2=0.9, eps=1e-3, bias_correction=bias_correction)
    theirs = optax.rmsprop(
        0.1, decay=0.9, eps=1e-3, eps_in_sqrt=False, bias_correction=bias_correction
    )
    grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), grads)
    # Optax multiplies by 1 / (sqrt(nu) + eps): one rounding more than a division.
    chex.assert_trees_all_close(updates_of(ours, grads)[0], updates_of(theirs, grads)[0], rtol=1e-6)


def test_rotated_gradients_give_rotated_updates():
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    grads = [g["x"] for g in gradients({"x": (5,)})]
    with jax.enable_x64(True):
        straight, _ = updates_of(scale_by_scalar_rms(), grads)
        rotated, _ = updates_of(scale_by_scalar_rms(), [rotation @ g for g in grads])
        elementwise, _ = updates_of(optax.scale_by_rms(), [rotation @ g for g in grads])
    expected = np.stack(straight) @ rotation.T
    np.testing.assert_allclose(np.stack(rotated), expected, rtol=1e-12, atol=1e-14)
    assert not np.allclose(np.stack(elementwise), expected, rtol=0.1)  # the check can fail


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_norms_of_narrow_gradients_are_accumulated_in_float32(dtype):
    # A bfloat16 sum of ones stops at 256; a float16 square of 300 is infinite.
    grads = jnp.full(1000, 300.0, dtype)
    tx = scale_by_scalar_rms()
    (updates,), state = updates_of(tx, [grads])
    assert state.nu.dtype == jnp.float32
    np.testing.assert_allclose(state.nu, 0.01 * 1000 * float(grads[0]) ** 2, rtol=1e-5)
    np.testing.assert_allclose(updates.astype("float32"), 1000**-0.5, rtol=2**-8)


def test_mixed_precision_follows_the_widest_leaf():
    with jax.enable_x64(True):
        params = {"narrow": jnp.ones(2, jnp.bfloat16), "wide": jnp.ones(2, jnp.float64)}
        (updates,), state = updates_of(scale_by_scalar_rms(), [params])
        assert state.nu.dtype == jnp.float64
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
        np.testing.assert_allclose(updates["wide"], 0.5, rtol=1e-7)
