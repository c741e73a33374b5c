"""A gate in front of any optimizer: second moments first, then the optimizer as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close, assert_trees_all_equal

import rodflow
from rodflow import Parity
from rodflow.maps.parity import probe_parity
from rodflow.transforms import adam_2k, second_moments_first

NUM_STEPS = 4
START = {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}


def gradients(seed=0, num_steps=10):
    rng = np.random.default_rng(seed)
    return [
        jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), START)
        for _ in range(num_steps)
    ]


def states_of(tx, grads):
    """The updates and the state after each step."""
    state, seen, update = tx.init(START), [], jax.jit(tx.update)
    for g in grads:
        updates, state = update(g, state, START)
        seen.append((updates, state))
    return seen


def test_adam_2k_against_numpy():
    lr, b1, b2, eps = 0.1, 0.8, 0.95, 1e-3
    m, nu = 0.0, 0.0
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        tx = adam_2k(lr, b1, b2, eps, NUM_STEPS)
        state = tx.init(jnp.zeros(3))
        for t in range(1, 11):
            g = rng.normal(size=3)
            updates, state = tx.update(jnp.asarray(g), state)
            nu = b2 * nu + (1 - b2) * g**2
            expected = np.zeros(3)
            if t > NUM_STEPS:
                m = b1 * m + (1 - b1) * g
                expected = -lr * m / (1 - b1**t) / (np.sqrt(nu / (1 - b2**t)) + eps)
            np.testing.assert_allclose(updates, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "inner",
    [
        optax.adamw(0.1),
        optax.nadam(optax.cosine_decay_schedule(0.1, 100)),
        optax.rmsprop(0.1, momentum=0.9),
        optax.inject_hyperparams(optax.adam)(0.1),
        optax.masked(optax.adam(0.1), {"w": True, "b": False}),
        optax.partition({"a": optax.adam(0.1), "s": optax.sgd(0.1, 0.9)}, {"w": "a", "b": "s"}),
    ],
    ids=["adamw", "nadam", "rmsprop", "injected", "masked", "partition"],
)
def test_first_moments_wait_and_all_else_goes_on(inner):
    grads = gradients()
    parity = probe_parity(inner, START)
    plain = states_of(inner, grads)
    gated = states_of(second_moments_first(inner, NUM_STEPS), grads)
    for t, ((_, free), (updates, state)) in enumerate(zip(plain, gated, strict=True), start=1):
        waits = jax.tree.map(lambda p: p is Parity.OSCILLATING, parity)
        others = jax.tree.map(lambda wait, x: 0 if wait else x, waits, state.inner_state)
        assert_trees_all_equal(others, jax.tree.map(lambda w, x: 0 if w else x, waits, free))
        still = jax.tree.map(lambda u: not np.any(u), (updates, state.inner_state))
        if t <= NUM_STEPS:
            assert all(jax.tree.leaves(still[0]))
            assert all(jax.tree.leaves(jax.tree.map(lambda w, s: s or not w, waits, still[1])))
        else:
            assert not any(jax.tree.leaves(still[0]))


def test_after_the_gate_it_is_the_optimizer_from_that_state():
    grads = gradients()
    inner = optax.adam(0.1)
    update = jax.jit(inner.update)
    gated = states_of(second_moments_first(inner, NUM_STEPS), grads)
    state = gated[NUM_STEPS - 1][1].inner_state
    for g, (updates, _) in zip(grads[NUM_STEPS:], gated[NUM_STEPS:], strict=True):
        expected, state = update(g, state, START)
        assert_trees_all_close(updates, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("num_steps", [0, 1, 3, 2000, 100_000])
def test_parity_is_that_of_the_optimizer(num_steps):
    """However long the leaves stay as they are: the probe looks a million steps ahead too."""
    inner = optax.chain(optax.adamw(0.1), optax.trace(0.5))
    parity = probe_parity(second_moments_first(inner, num_steps), START)
    assert parity.count is Parity.CLOCK
    assert parity.inner_state == probe_parity(inner, START)


def test_hyperparameters_may_be_traced(params, network_loss):
    def member(learning_rate, num_steps):
        iteration = rodflow.Iteration(network_loss, adam_2k(learning_rate, num_steps=num_steps))
        state = iteration.init(params)
        assert iteration.parity(params).opt_state.inner_state[0].mu["out"] is Parity.OSCILLATING
        return jax.lax.fori_loop(0, 5, lambda _, z: iteration.step(z), state).params

    grid = jnp.array([0.01, 0.1]), jnp.array([2, 4])
    lanes = jax.jit(jax.vmap(member))(*grid)
    for lane, (learning_rate, num_steps) in enumerate(zip(*grid, strict=True)):
        assert_trees_all_close(
            jax.tree.map(lambda leaf, lane=lane: leaf[lane], lanes),
            jax.jit(member)(float(learning_rate), int(num_steps)),
            rtol=1e-5,
        )


def test_a_gate_within_a_gate():
    inner = second_moments_first(optax.adam(0.1), 3)
    grads = gradients()
    outer = states_of(second_moments_first(inner, 6), grads)
    once = states_of(second_moments_first(optax.adam(0.1), 6), grads)
    assert_trees_all_equal(outer[-1][0], once[-1][0])


@pytest.mark.slow
def test_flows_wait_too(params, network_loss):
    """Nothing moves before the gate opens, and the rod leaves with the iterates."""
    tracking = rodflow.track(
        network_loss, adam_2k(0.01, num_steps=20), params, num_steps=60, warmup=5, every=10
    )
    np.testing.assert_array_equal(tracking.travelled[0], 0)
    assert tracking.travelled[-1] > 0.1
    for flow in tracking.flows.values():
        assert flow.distance[0] < 1e-6
        assert flow.distance[-1] < 0.1 * tracking.travelled[-1]


def test_a_negative_number_of_steps_is_refused():
    with pytest.raises(ValueError, match=r"`num_steps` is -1; it must be at least 0"):
        second_moments_first(optax.adam(0.1), -1)
