import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow import Iteration, PhaseState
from rodflow.tracking._iterates import begin, follow, one_rounding_unit_away, runaway_limit


def parabola(w):
    return jnp.sum(w**2)


def gd(learning_rate, start):
    """The run w[t] = (1 - 2 lr)^t w[0]."""
    iteration = Iteration(parabola, optax.sgd(learning_rate))
    return iteration, begin(iteration, iteration.init(jnp.array(start)))


def at(step):
    return jnp.array(step, jnp.int32)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_midpoint_and_mean_loss(every):
    iteration, run = gd(0.75, [1.0, -1.0])
    for t in (every, 2 * every):
        run, seen = follow(iteration, run, at(t), every)
        # Powers of -1/2, so that all of this is exact in binary.
        w = (-0.5) ** np.array([t - 1, t, t + 1])
        weights = np.array([1, 2, 1]) / 4
        np.testing.assert_array_equal(seen.midpoint, weights @ w * np.array([1, -1]))
        np.testing.assert_array_equal(seen.state.params, w[1] * np.array([1, -1]))
        assert seen.loss == 2 * w[1] ** 2
        assert seen.mean_loss == weights @ (2 * w**2)
        np.testing.assert_array_equal(run.state.params, w[2] * np.array([1, -1]))
        assert run.diverged_at == -1


def test_a_period_two_oscillation_has_a_midpoint_at_rest():
    iteration, run = gd(1.0, [3.0])
    _, seen = follow(iteration, run, at(4), 4)
    assert seen.midpoint == 0.0
    assert seen.mean_loss == seen.loss == 9.0


def test_what_diverges_stays_where_it_was():
    iteration, run = gd(5.5, [1.0])
    assert run.limit == runaway_limit(jnp.array([1.0])) == 2e6
    run, seen = follow(iteration, run, at(9), 9)
    assert run.diverged_at == 7
    np.testing.assert_allclose(run.params, 1e6, rtol=1e-5)  # (-10)^6, the last below the limit
    assert all(jnp.all(jnp.isnan(leaf)) for leaf in jax.tree.leaves(seen))
    later, _ = follow(iteration, run, at(18), 9)
    assert later.diverged_at == 7
    np.testing.assert_array_equal(later.params, run.params)


def test_a_start_without_a_loss_has_diverged_at_once():
    iteration = Iteration(lambda w: jnp.sum(jnp.log(w)), optax.sgd(0.1))
    state = iteration.init(jnp.ones(2))
    assert begin(iteration, state._replace(params=-jnp.ones(2))).diverged_at == 0


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_one_rounding_unit_is_the_next_float(dtype, params):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    state = PhaseState(params, optax.EmptyState())
    moved = one_rounding_unit_away(state, jax.random.key(0))
    ups = []
    for new, old in zip(*map(jax.tree.leaves, (moved, state)), strict=True):
        assert new.dtype == old.dtype
        up, down = (jnp.nextafter(old, jnp.array(end, dtype)) for end in (jnp.inf, -jnp.inf))
        assert jnp.all((new == up) | (new == down))
        ups.append((new == up).ravel())
    ups = jnp.concatenate(ups)
    assert jnp.any(ups) and not jnp.all(ups)
    other = one_rounding_unit_away(state, jax.random.key(1))
    assert any(map(jnp.any, jax.tree.leaves(jax.tree.map(jnp.not_equal, moved, other))))


def test_oscillation_is_the_distance_from_the_midpoint():
    """w[t] = 1 + t / 2 + (-1)^t / 4: its midpoints lie on the line, its oscillation is 1/4."""

    def step(count):
        return 0.5 - 0.5 * (-1.0) ** count

    iteration = Iteration(lambda w: -jnp.sum(w), optax.sgd(step))
    run = begin(iteration, iteration.init(jnp.array([1.25])))
    _, seen = follow(iteration, run, jnp.array(5), 5)
    np.testing.assert_allclose(seen.oscillation, 0.25, rtol=1e-5)
