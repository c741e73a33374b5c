"""Scalar Adam and NAdam against NumPy, against Optax on one parameter, and under rotations."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow.transforms import (
    scalar_adam,
    scalar_nadam,
    scale_by_scalar_adam,
    scale_by_scalar_nadam,
    scale_by_scalar_rms,
)

both = pytest.mark.parametrize("nesterov", [False, True], ids=["adam", "nadam"])


def transform(nesterov):
    return scale_by_scalar_nadam if nesterov else scale_by_scalar_adam


def gradients(shapes, num_steps=10, seed=0):
    rng = np.random.default_rng(seed)
    return [{k: rng.normal(size=s) for k, s in shapes.items()} for _ in range(num_steps)]


def updates_of(tx, grads) -> tuple[list[Any], Any]:
    state, out, update = tx.init(grads[0]), [], jax.jit(tx.update)
    for g in grads:
        u, state = update(jax.tree.map(jnp.asarray, g), state)
        out.append(u)
    return out, state


@both
def test_numpy_over_ten_steps(nesterov):
    grads = gradients({"w": (3, 2), "b": (4,), "s": ()})
    b1, b2, eps = 0.8, 0.95, 1e-2
    mu, nu = dict.fromkeys(grads[0], 0.0), 0.0
    with jax.enable_x64(True):
        got, state = updates_of(transform(nesterov)(b1, b2, eps), grads)
        for t, (g, u) in enumerate(zip(grads, got, strict=True), start=1):
            mu = {k: b1 * mu[k] + (1 - b1) * g[k] for k in g}
            nu = b2 * nu + (1 - b2) * sum(np.sum(leaf**2) for leaf in g.values())
            if nesterov:
                mu_hat = {
                    k: b1 * mu[k] / (1 - b1 ** (t + 1)) + (1 - b1) * g[k] / (1 - b1**t) for k in g
                }
            else:
                mu_hat = {k: mu[k] / (1 - b1**t) for k in g}
            denominator = np.sqrt(nu / (1 - b2**t)) + eps
            chex.assert_trees_all_close(
                u, {k: mu_hat[k] / denominator for k in g}, rtol=1e-12, atol=1e-14
            )
        assert state.count == 10
        chex.assert_trees_all_close((state.mu, state.nu), (mu, nu), rtol=1e-12, atol=1e-14)


@both
def test_one_parameter_is_optax(nesterov):
    ours = (scalar_nadam if nesterov else scalar_adam)(0.1, b1=0.8, b2=0.9, eps=1e-3)
    theirs = (optax.nadam if nesterov else optax.adam)(0.1, b1=0.8, b2=0.9, eps=1e-3)
    grads = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), gradients({"x": ()}))
    chex.assert_trees_all_close(updates_of(ours, grads)[0], updates_of(theirs, grads)[0], rtol=1e-6)


def test_without_momentum_both_are_scalar_rms():
    with jax.enable_x64(True):
        grads = gradients({"w": (3, 2), "b": (4,)})
        expected, _ = updates_of(scale_by_scalar_rms(b2=0.9), grads)
        for tx in (scale_by_scalar_adam(0.0, 0.9), scale_by_scalar_nadam(0.0, 0.9)):
            chex.assert_trees_all_close(updates_of(tx, grads)[0], expected, rtol=1e-12)


@both
def test_rotated_gradients_give_rotated_updates(nesterov):
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    grads = [g["x"] for g in gradients({"x": (5,)})]
    with jax.enable_x64(True):
        straight, _ = updates_of(transform(nesterov)(), grads)
        rotated, _ = updates_of(transform(nesterov)(), [rotation @ g for g in grads])
    expected = np.stack(straight) @ rotation.T
    np.testing.assert_allclose(np.stack(rotated), expected, rtol=1e-12, atol=1e-14)


@both
def test_wide_b1_does_not_widen_the_first_moment(nesterov):
    # optax.scale_by_adam(b1=jnp.float32(...)) turns a bfloat16 mu into float32 at the first step.
    params = jnp.ones(3, jnp.bfloat16)

    @jax.jit
    def step(b1):
        tx = transform(nesterov)(b1=b1)
        return tx.update(params, tx.init(params))

    updates, state = step(jnp.float32(0.9))
    assert updates.dtype == state.mu.dtype == jnp.bfloat16
