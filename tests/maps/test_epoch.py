import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close

import rodflow
from rodflow import Epoch, Iteration, Minibatches, Parity, PhaseState
from rodflow.flows import SignedRodState

BATCHES = 3
HALVES = jnp.arange(2 * BATCHES).reshape(BATCHES, 2)


def _points():
    draw = np.random.default_rng(0).normal
    return jnp.asarray(draw(size=(2 * BATCHES, 4))), jnp.asarray(draw(size=2 * BATCHES))


def of(params, samples):
    """Regression of the given samples by a tanh network, or by the tree of the fixture."""
    x, y = (data[samples] for data in _points())
    hidden = jnp.tanh(x @ params["hidden"]["w"])
    return jnp.mean((hidden @ params["out"] - y) ** 2) / 2


def adam():
    return optax.adam(1 / 16, b2=0.9)


@pytest.mark.usefixtures("x64")
def test_an_epoch_is_a_step_of_optax_on_each_batch(params):
    epoch, tx = Epoch(Minibatches(of, HALVES), adam()), adam()

    @jax.jit
    def step(weights, memory, samples):
        updates, memory = tx.update(jax.grad(of)(weights, samples), memory, weights)
        return optax.apply_updates(weights, updates), memory

    weights, memory = params, tx.init(params)
    for samples in [*HALVES, *HALVES]:
        weights, memory = step(weights, memory, samples)
    as_floats = functools.partial(jax.tree.map, lambda leaf: jnp.asarray(leaf, float))
    advance = jax.jit(epoch.advance)
    state = advance(epoch.init(params))[1]
    loss, after = advance(state)
    assert_trees_all_close(after, PhaseState(*as_floats((weights, memory))), rtol=1e-12)
    np.testing.assert_allclose(loss, of(state.params, jnp.arange(2 * BATCHES)), rtol=1e-12)
    moved = jax.tree.map(jnp.add, state, jax.jit(epoch.increment)(state))
    assert_trees_all_close(moved, after, rtol=1e-12)


def test_all_but_counters_oscillates(params):
    epoch = Epoch(Minibatches(of, HALVES), optax.inject_hyperparams(optax.adam)(0.1))
    parity = epoch.parity(params)
    adam_state = parity.opt_state.inner_state[0]
    assert adam_state.count is Parity.CLOCK
    assert set(jax.tree.leaves([adam_state.mu, adam_state.nu])) == {Parity.OSCILLATING}
    assert set(parity.opt_state.hyperparams.values()) == {Parity.CONSTANT}


@pytest.mark.usefixtures("x64")
def test_accumulated_steps_are_those_on_the_mean(params):
    """MultiSteps over one epoch is a step of the optimizer on the mean of the losses."""
    loss = Minibatches(of, HALVES)
    epoch = Epoch(loss, optax.MultiSteps(adam(), BATCHES).gradient_transformation())
    whole = Iteration(loss, adam())
    several, one = epoch.init(params), whole.init(params)
    parity = epoch.parity(params).opt_state
    assert (parity.mini_step, parity.gradient_step) == (Parity.CONSTANT, Parity.CLOCK)
    assert set(jax.tree.leaves(parity.acc_grads)) == {Parity.CONSTANT}
    steps = jax.jit(lambda a, b: (epoch.step(a), whole.step(b)))
    for _ in range(2):
        several, one = steps(several, one)
    assert_trees_all_close(several.params, one.params, rtol=1e-7)  # it averages in float32
    increment = jax.jit(epoch.increment)(several).opt_state
    assert (increment.mini_step, increment.gradient_step) == (0, 1)


def reflections(directions, omega):
    """The epoch of least squares with one sample a batch, and its multipliers."""
    lengths = jnp.sum(directions**2, axis=1)
    loss = Minibatches(lambda w, g: (g @ w) ** 2 / 2, directions)
    epoch = Epoch(loss, optax.sgd(omega / lengths[0]))
    size = directions.shape[1]
    state = epoch.init(jnp.ones(size))
    jacobian = jax.jacobian(lambda w: epoch.step(state._replace(params=w)).params)(jnp.ones(size))
    return np.linalg.eigvals(np.asarray(jacobian))


@pytest.mark.usefixtures("x64")
def test_which_epochs_have_a_multiplier_of_minus_one():
    angle = 0.4
    pair = jnp.array([[1.0, 0.0], [jnp.cos(angle), jnp.sin(angle)]])
    np.testing.assert_allclose(
        np.sort_complex(reflections(pair, 2.0)), np.exp([-2j * angle, 2j * angle]), rtol=1e-12
    )
    np.testing.assert_allclose(reflections(jnp.eye(2), 2.0), [-1, -1], rtol=1e-12)
    three = np.random.default_rng(1).normal(size=(3, 3))
    three = jnp.asarray(three / np.linalg.norm(three, axis=1, keepdims=True))
    at_the_edge = reflections(three, 2.0)
    assert np.min(np.abs(at_the_edge + 1)) < 1e-9
    np.testing.assert_allclose(np.abs(at_the_edge), 1, rtol=1e-9)
    # Ostrowski and Reich: below omega = 2 a sweep converges, above it does not.
    assert np.max(np.abs(reflections(three, 1.9))) < 1 < np.max(np.abs(reflections(three, 2.1)))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("count", [2, 3])
def test_an_even_number_of_equal_batches_does_not_oscillate(count):
    """On L = S w^2/2 - Q w^4/4 the steps alternate between +-w*, w*^2 = (S - 2/lr) / Q."""
    sharpness, quartic, rate = 2.4, 1.0, 1.0
    loss = Minibatches(lambda w, _: sharpness * w**2 / 2 - quartic * w**4 / 4, jnp.zeros(count))
    epoch = Epoch(loss, optax.sgd(rate))
    state = epoch.init(jnp.zeros(()))
    star = jnp.sqrt((sharpness - 2 / rate) / quartic)
    rod = rodflow.RodFlow(rodflow.SignedRod(seed=0.0))

    def velocity(c, x):
        point = SignedRodState(*(state._replace(params=jnp.asarray(v)) for v in (c, x)))
        moved = rod.increment(epoch, point)
        return moved.c.params, moved.x.params

    growth = float(velocity(0.0, 1e-6)[1]) / 1e-6
    multiplier = (1 - rate * sharpness) ** count
    np.testing.assert_allclose(growth, -(1 + multiplier), rtol=1e-6)
    if count % 2:  # the rod grows to the oscillation that is there
        assert growth > 0
        np.testing.assert_allclose(velocity(0.0, star), (0.0, 0.0), atol=1e-12)
    else:  # the iterates rest on one side, and so does the stable flow
        assert growth < -2
        np.testing.assert_allclose(velocity(star, 0.0), (0.0, 0.0), atol=1e-12)
        aside = state._replace(params=jnp.asarray(1e-6))
        assert rodflow.StableFlow().increment(epoch, aside).params > 0


@pytest.mark.parametrize("every", [2, 4])
def test_accumulation_out_of_step_with_the_epoch_is_refused(params, every):
    tx = optax.MultiSteps(adam(), every).gradient_transformation()
    with pytest.raises(ValueError, match=r"mini_step.*neither counts the steps"):
        Epoch(Minibatches(of, HALVES), tx).init(params)


def test_what_has_no_meaning_is_refused(params):
    with pytest.raises(ValueError, match="for an epoch it must be `Minibatches`"):
        Epoch(jnp.sum, optax.sgd(0.1))
    with pytest.raises(ValueError, match="may not depend on a batch or a step"):
        Iteration(of, optax.sgd(0.1)).init(params)
    epoch = Epoch(Minibatches(of, HALVES), optax.sgd(0.1))
    state = epoch.init(params)
    for flow in (rodflow.CentralFlow(), rodflow.EdgeFlow(), rodflow.FreeEnergyFlow()):
        with pytest.raises(ValueError, match="An epoch of 3 updates has no response"):
            flow.init(epoch, state)
    with pytest.raises(ValueError, match="An epoch of 3 updates has no response"):
        rodflow.nyquist_response(epoch, state)
