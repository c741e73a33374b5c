import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from rodflow.maps import RoundingError
from rodflow.transforms import compensate_rounding

DTYPES = ["float16", "bfloat16", "float32", "float64"]
PARAMS = {"w": [[1.0, -3.0], [0.3, 1e-3]], "b": ([2.0], -0.7)}


def params_of(dtype):
    return jax.tree.map(
        lambda x: jnp.asarray(x, dtype), PARAMS, is_leaf=lambda x: isinstance(x, float | list)
    )


def added(tx, params, updates, jit) -> tuple[Any, Any]:
    """Parameters after a number of updates, and what is left for later."""

    def add(params, state, update):
        change, state = tx.update(update, state, params)
        return optax.apply_updates(params, change), state

    add = jax.jit(add) if jit else add
    state = tx.init(params)
    for update in updates:
        params, state = add(params, state, update)
    return params, state


def drawn_updates(params, count):
    """Updates that are mostly lost when one of bfloat16 is added to them."""
    rng = np.random.default_rng(0)
    return [
        jax.tree.map(lambda p: jnp.asarray(1e-3 * (0.5 + rng.random(p.shape)), p.dtype), params)
        for _ in range(count)
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_and_remainder_are_the_exact_sum(dtype):
    with jax.enable_x64(True):
        params = params_of(dtype)
        updates = drawn_updates(params, 200)
        found, state = added(compensate_rounding(), params, updates, jit=True)
        chex.assert_trees_all_equal_shapes_and_dtypes(found, params)
        chex.assert_trees_all_equal_shapes_and_dtypes(state.remainder.values, params)

        def exact_sum(*leaves):
            return np.apply_along_axis(math.fsum, 0, np.array([np.float64(x) for x in leaves]))

        exact = jax.tree.map(exact_sum, params, *updates)
        unit = jnp.finfo(dtype).eps

        def close(x, e, s):
            np.testing.assert_allclose(np.float64(x), s, rtol=unit)
            np.testing.assert_allclose(
                np.float64(e), s - np.float64(x), rtol=0, atol=max(unit / 20, 2**-52)
            )

        jax.tree.map(close, found, state.remainder.values, exact)


def test_without_it_the_updates_are_lost():
    params = jnp.ones(2, jnp.bfloat16)
    updates = [jnp.full(2, 1e-3, jnp.bfloat16)] * 100
    lost, _ = added(optax.identity(), params, updates, jit=True)
    kept, _ = added(compensate_rounding(), params, updates, jit=True)
    np.testing.assert_array_equal(lost, 1)
    np.testing.assert_allclose(np.asarray(kept, np.float32), 1.1, rtol=2**-8)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_compiler_leaves_no_rounding_out(dtype):
    params = params_of(dtype)
    updates = drawn_updates(params, 20)
    runs = [added(compensate_rounding(), params, updates, jit) for jit in (False, True)]
    chex.assert_trees_all_equal(*runs)


def test_updates_of_a_wider_type_are_taken_whole():
    params = jnp.ones((), jnp.bfloat16)
    tx = compensate_rounding()
    updates, state = tx.update(jnp.float32(1e-3), tx.init(params), params)
    assert updates.dtype == state.remainder.values.dtype == jnp.bfloat16
    assert updates == 0
    assert state.remainder.values == jnp.bfloat16(1e-3)


def test_masked_leaves_are_left_alone():
    tx = optax.masked(compensate_rounding(), {"w": True, "b": False})
    params = params_of("bfloat16")
    (update,) = drawn_updates(params, 1)
    found, state = tx.update(update, tx.init(params), params, unexpected=1.0)
    assert isinstance(found, dict)
    chex.assert_trees_all_equal(found["b"], update["b"])
    assert len(jax.tree.leaves(state)) == 1


def test_a_group_without_parameters():
    tx = compensate_rounding()
    assert tx.update({}, tx.init({}), {})[0] == {}


def test_what_it_cannot_round_is_named():
    tx = compensate_rounding()
    with pytest.raises(ValueError, match="A parameter is int32; rounding is that of real floats"):
        tx.init({"w": jnp.ones(2), "n": jnp.arange(2)})
    with pytest.raises(ValueError, match="`params` is None"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


@pytest.mark.slow
def test_rod_flow_is_that_of_the_chain_before(network_loss, params):
    def tracked(tx):
        return rodflow.track(network_loss, tx, params, num_steps=40, warmup=0, every=10)

    plain = optax.adam(1e-2)
    one, other = tracked(plain), tracked(optax.chain(plain, compensate_rounding()))
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-5)
    distances = [t.flows["rod"].distance for t in (one, other)]
    np.testing.assert_allclose(*distances, rtol=0.05, atol=1e-6)


def test_a_flow_adds_what_is_left_and_rounds_nothing():
    """The remainder is no smooth variable: with it the sum of both moves by the update alone."""
    tx = optax.chain(optax.sgd(0.1), compensate_rounding())
    iteration = rodflow.Iteration(lambda w: jnp.sum(w**2) / 2, tx)
    params = jnp.array([1.0, -2.0])
    assert iteration.parity(params).opt_state[1].remainder.values is rodflow.Parity.ROUNDING
    left = jnp.array([3e-8, -5e-8])
    state = iteration.init(params)
    memory = state.opt_state[1]._replace(remainder=RoundingError(left))
    state = state._replace(opt_state=(state.opt_state[0], memory))
    moved = iteration.increment(state)
    np.testing.assert_array_equal(moved.opt_state[1].remainder.values, -left)
    np.testing.assert_allclose(moved.params, -0.1 * params, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_stable_flow_takes_a_few_gradients_a_step(dtype, network_loss, params):
    """What is left decays by exp(-t), which takes no more than a few solver steps for each step."""
    params = jax.tree.map(lambda p: p.astype(dtype), params)
    tx = optax.chain(optax.sgd(1e-2), compensate_rounding())
    flows = {"stable": rodflow.StableFlow()}
    tracking = rodflow.track(network_loss, tx, params, num_steps=20, warmup=5, flows=flows)
    stable = tracking.flows["stable"]
    assert np.all(stable.diverged_at < 0) and np.all(np.isfinite(stable.distance))
    assert np.all(stable.gradients <= 20)
