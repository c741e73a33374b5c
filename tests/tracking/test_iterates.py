import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow import Tracker, track


def parabola(w):
    return jnp.sum(w**2)


def gd(learning_rate, **options):
    """Return the tracker of the run w[t] = (1 - 2 lr)^t w[0], without flows."""
    return Tracker(parabola, optax.sgd(learning_rate), {}, observe=lambda z: z.params, **options)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_midpoint_and_mean_loss(every):
    tracker = gd(0.75, every=every)
    state, records = tracker.run(tracker.init(jnp.array([1.0])), 2)
    for record, t in enumerate((every, 2 * every)):
        seen = jax.tree.map(lambda leaf, record=record: leaf[record], records)
        # Powers of -1/2, so that all of this is exact in binary.
        w = (-0.5) ** np.array([t - 1, t, t + 1])
        midpoint, mean_loss = (np.array([1, 2, 1]) / 4 @ x for x in (w, w**2))
        assert seen.travelled == abs(midpoint - 1)
        assert seen.oscillation == abs(w[1] - midpoint)
        assert seen.observed == w[1]
        assert seen.loss == w[1] ** 2
        assert seen.mean_loss == mean_loss
        assert seen.diverged_at == -1
    # A run is kept one step ahead.
    assert state.run.params == w[1] and state.run.state.params == w[2]


def test_a_period_two_oscillation_has_a_midpoint_at_rest():
    tracker = gd(1.0, every=4)
    _, seen = tracker.run(tracker.init(jnp.array([3.0])), 1)
    assert seen.travelled == seen.oscillation == 3.0
    assert seen.mean_loss == seen.loss == 9.0


def test_a_run_that_diverges_stays_where_it_was():
    tracker = gd(5.5, every=9)
    state, seen = tracker.run(tracker.init(jnp.array([1.0])), 1)
    assert state.run.limit == 2e6
    assert seen.diverged_at == 7
    np.testing.assert_allclose(state.run.params, 1e6, rtol=1e-5)  # (-10)^6, the last below it
    for numbers in (seen.loss, seen.mean_loss, seen.oscillation, seen.travelled, seen.observed):
        assert jnp.all(jnp.isnan(numbers))
    later, seen = tracker.run(state, 1)
    assert seen.diverged_at == 7
    np.testing.assert_array_equal(later.run.params, state.run.params)


def test_a_start_without_a_loss_has_diverged_at_once():
    """It is not checked where the parameters are traced."""

    @jax.jit
    def tracking(params):
        loss = lambda w: jnp.sum(jnp.log(w))  # noqa: E731
        return track(loss, optax.sgd(0.1), params, 10, warmup=0, flows={})

    np.testing.assert_array_equal(tracking(-jnp.ones(2)).diverged_at, 0)
    np.testing.assert_array_equal(tracking(10 * jnp.ones(2)).diverged_at, -1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_twins_start_at_the_next_float(dtype, params):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    tracker = Tracker(lambda p: optax.tree.sum(p).astype(float), optax.sgd(0.1), {}, twins=1)
    moved = tracker.init(params, key=jax.random.key(0)).twins.params
    ups = []
    for new, old in zip(*map(jax.tree.leaves, (moved, params)), strict=True):
        assert new.dtype == old.dtype
        up, down = (jnp.nextafter(old, jnp.array(end, dtype)) for end in (jnp.inf, -jnp.inf))
        assert jnp.all((new == up) | (new == down))
        ups.append((new == up).ravel())
    ups = jnp.concatenate(ups)
    assert jnp.any(ups) and not jnp.all(ups)
    other = tracker.init(params, key=jax.random.key(1)).twins.params
    assert any(map(jnp.any, jax.tree.leaves(jax.tree.map(jnp.not_equal, moved, other))))


def test_distances_run_over_all_leaves():
    tracker = Tracker(lambda p: optax.tree.sum(p), optax.sgd(1.0), {}, every=2)
    start = {"a": jnp.zeros((1, 3)), "b": (jnp.array(0.0),)}
    _, seen = tracker.run(tracker.init(start), 1)
    assert seen.travelled == 4.0  # two steps of -1 along each of four axes


def test_oscillation_is_the_distance_from_the_midpoint():
    """w[t] = (-1)^t / 4 along one axis, t / 2 along another: midpoints lie on that one."""
    tracker = Tracker(lambda w: w[0] ** 2 - w[1] / 2, optax.sgd(1.0), {}, every=5)
    _, seen = tracker.run(tracker.init(jnp.array([0.25, 0.0])), 1)
    np.testing.assert_allclose(seen.oscillation, 0.25, rtol=1e-5)
