"""Second moments that start from the first gradient, for any chain."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close, assert_trees_all_equal

import rodflow
from rodflow import Parity
from rodflow.maps.parity import probe_parity
from rodflow.transforms import gi_adam, second_moments_from_gradient

START = {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}


def gradients(num_steps, seed=0):
    rng = np.random.default_rng(seed)
    return [
        jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), START)
        for _ in range(num_steps)
    ]


def test_gi_adam_against_numpy():
    lr, b1, b2, eps = 0.1, 0.8, 0.95, 1e-3
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        tx = gi_adam(lr, b1, b2, eps)
        state, m, nu = tx.init(jnp.zeros(3)), 0.0, None
        for t in range(1, 8):
            g = rng.normal(size=3)
            nu = g**2 if nu is None else nu
            updates, state = tx.update(jnp.asarray(g), state)
            m, nu = b1 * m + (1 - b1) * g, b2 * nu + (1 - b2) * g**2
            expected = -lr * m / (1 - b1**t) / (np.sqrt(nu / (1 - b2**t)) + eps)
            np.testing.assert_allclose(updates, expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("inner", "leaves"),
    [
        (optax.adamw(0.1), ["nu"]),
        (optax.amsgrad(0.1), ["nu"]),
        (optax.rmsprop(0.1, momentum=0.9), ["nu"]),
        (optax.inject_hyperparams(optax.adam)(0.1), ["nu"]),
    ],
    ids=["adamw", "amsgrad", "rmsprop", "injected"],
)
def test_the_first_step_leaves_second_moments_at_the_square(inner, leaves):
    (grads,) = gradients(1)
    tx = second_moments_from_gradient(inner)
    _, state = jax.jit(tx.update)(grads, tx.init(START), START)
    for name in leaves:
        assert_trees_all_close(
            optax.tree.get(state, name), jax.tree.map(jnp.square, grads), rtol=2e-4
        )


def test_masked_parameters_and_partitions():
    inner = optax.partition({"a": optax.adam(0.1), "s": optax.sgd(0.1, 0.9)}, {"w": "a", "b": "s"})
    (grads,) = gradients(1)
    tx = second_moments_from_gradient(inner)
    _, state = tx.update(grads, tx.init(START), START)
    nu = state.inner_state.inner_states["a"].inner_state[0].nu
    np.testing.assert_allclose(nu["w"], grads["w"] ** 2, rtol=2e-4)


@pytest.mark.parametrize("inner", [optax.adagrad(0.1), optax.sgd(0.1, 0.9)])
def test_without_a_memory_that_forgets_nothing_changes(inner):
    tx = second_moments_from_gradient(inner)
    states = tx.init(START), inner.init(START)
    for grads in gradients(3):
        updates, gated = jax.jit(tx.update)(grads, states[0], START)
        expected, plain = jax.jit(inner.update)(grads, states[1], START)
        assert_trees_all_equal((updates, gated.inner_state), (expected, plain))
        states = gated, plain


def test_later_steps_are_those_of_the_optimizer():
    inner = optax.adam(0.1)
    tx = second_moments_from_gradient(inner)
    first, *later = gradients(4)
    _, state = tx.update(first, tx.init(START), START)
    plain = state.inner_state
    for grads in later:
        updates, state = tx.update(grads, state, START)
        expected, plain = inner.update(grads, plain, START)
        assert_trees_all_equal((updates, state.inner_state), (expected, plain))


def test_parity_is_that_of_the_optimizer():
    inner = optax.chain(optax.adamw(0.1), optax.trace(0.5))
    parity = probe_parity(second_moments_from_gradient(inner), START)
    assert parity.count is Parity.CLOCK
    assert parity.inner_state == probe_parity(inner, START)


def test_the_first_steps_are_a_warmup(params, network_loss):
    """Shorter by sqrt(1 - b2^t), so the effective sharpness starts far below that of Adam."""
    seen = []
    for tx in rodflow.gi_adam(1e-3), optax.adam(1e-3):
        moved, state = params, tx.init(params)
        for _ in range(3):
            updates, state = tx.update(jax.grad(network_loss)(moved), state, moved)
            moved = optax.apply_updates(moved, updates)
        seen.append(float(rodflow.effective_sharpness(network_loss, tx, (moved, state))[0]))
    np.testing.assert_allclose(seen[0] / seen[1], np.sqrt(1 - 0.999**3), rtol=0.1)
