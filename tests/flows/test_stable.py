import diffrax
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close, assert_trees_all_equal

from rodflow import Integrator, Iteration, StableFlow

STEPS = 16  # a power of 2: Diffrax divides by it, and XLA may multiply by its reciprocal instead


def solve(flow, iteration, y0, num_steps, integrator):
    """Return the states at the steps 1, 2, ..., compiled."""

    @jax.jit
    def run(y0):
        return diffrax.diffeqsolve(
            flow.term(iteration),
            integrator.solver,
            0.0,
            num_steps,
            integrator.dt0,
            y0,
            saveat=diffrax.SaveAt(ts=jnp.arange(1.0, num_steps + 1)),
            stepsize_controller=integrator.stepsize_controller,
        ).ys

    return run(y0)


def euler_run(iteration, params):
    flow, state = StableFlow(), iteration.init(params)
    y0 = flow.init(iteration, state)
    assert_trees_all_equal(y0, state)
    return solve(flow, iteration, y0, STEPS, Integrator(diffrax.Euler(), 1.0))


def halved(learning_rate):
    return optax.piecewise_constant_schedule(learning_rate, {5: 0.5, 12: 0.5})


@pytest.mark.parametrize(
    "tx",
    [optax.sgd(1 / 16), optax.sgd(halved(1 / 16)), optax.chain(optax.clip(0.1), optax.sgd(1 / 16))],
    ids=["gd", "schedule", "clipping"],
)
def test_unit_euler_steps_are_the_optax_run_bitwise(tx, params, optax_run, network_loss):
    """The increment is the update itself if no memory is a float: nothing is rounded twice.

    Learning rates are powers of two, so that lr g is exact: a compiler that fuses w - lr g in one
    of the programs only would make a difference of its own.
    """
    ys = euler_run(Iteration(network_loss, tx), params)
    weights, _ = optax_run(network_loss, tx, params, STEPS)
    assert_trees_all_equal(ys.params, weights)
    for clock in jax.tree.leaves(ys.opt_state):
        np.testing.assert_array_equal(clock, np.arange(1, STEPS + 1))


@pytest.mark.parametrize("chain", ["heavy_ball", "adam", "injected_adam"], indirect=True)
def test_unit_euler_steps_are_the_optax_run_to_rounding(network, params, optax_run):
    ys = euler_run(network, params)
    weights, memories = optax_run(network.loss_fn, network.tx, params, STEPS)
    # Moments take the way m + (m' - m), whose rounding Optax does not have: half a unit in the last
    # place (6e-8) a step, remembered for 1 / (1 - b) steps and fed back through the gradient.
    assert_trees_all_close(ys.params, weights, rtol=2e-5, atol=2e-6)
    assert_trees_all_close(ys.opt_state, memories, rtol=2e-5, atol=2e-6)


LINEAR = ["gd", "heavy_ball", "nesterov", "trace", "nesterov_trace"]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("chain", LINEAR, indirect=True)
def test_the_correction_of_a_linear_map_is_exact(quadratic, params):
    state = quadratic.step(quadratic.init(params))
    stable, corrected = (StableFlow(corrected=both).term(quadratic) for both in (False, True))

    @jax.jit
    def fields(state, t):
        v, slope = jax.jvp(quadratic.increment, (state,), (quadratic.increment(state),))
        return v, slope, stable.vf(t, state, None), corrected.vf(t, state, None)

    v, slope, plain, field = fields(state, jnp.zeros(()))
    assert_trees_all_close(plain, v, rtol=1e-14)
    expected = jax.tree.map(lambda v, s: v - s / 2, v, slope)
    assert_trees_all_close(field, expected, rtol=1e-13, atol=1e-15)
    # ... and matters: it is no rounding that is compared.
    relative = optax.tree.norm(slope.params) / optax.tree.norm(v.params)
    assert relative > 1e-3


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("chain", ["gd"], indirect=True)
def test_the_correction_is_of_second_order(network, chain, params):
    """V - V'V/2 up to the third order in V, on a loss that is no quadratic."""

    @jax.jit
    def error(learning_rate):
        iteration = Iteration(network.loss_fn, chain(learning_rate))
        state, term = iteration.init(params), StableFlow(corrected=True).term(iteration)
        v, slope = jax.jvp(iteration.increment, (state,), (iteration.increment(state),))
        field = term.vf(jnp.zeros(()), state, None)
        return optax.tree.norm(jax.tree.map(lambda f, v, s: f - (v - s / 2), field, v, slope))

    errors = [error(1 / 16), error(1 / 32)]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 3.0, atol=0.1)


TIGHT = Integrator(diffrax.Tsit5(), None, diffrax.PIDController(rtol=1e-9, atol=1e-11))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("chain", ["gd"], indirect=True)
@pytest.mark.parametrize(
    ("corrected", "integrator", "tolerance"),
    [(False, None, 2e-3), (True, TIGHT, 1e-7)],
    ids=["default integrator", "corrected"],
)
def test_solution_of_a_quadratic(quadratic, params, corrected, integrator, tolerance):
    """exp(-lr H t) w0, from the spectrum; the correction multiplies the rate by 1 + lr H / 2."""
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    hessian = jax.jit(jax.hessian(lambda w: quadratic.loss(unravel(w))))(flat)
    eigenvalues, vectors = np.linalg.eigh(hessian)
    rate = eigenvalues / 16 * (1 + corrected * eigenvalues / 32)
    expected = vectors @ (np.exp(-rate * STEPS) * (vectors.T @ flat))
    flow = StableFlow(corrected=corrected)
    ys = solve(flow, quadratic, quadratic.init(params), STEPS, integrator or flow.integrator)
    end, _ = jax.flatten_util.ravel_pytree(jax.tree.map(lambda leaf: leaf[-1], flow.center(ys)))
    error = np.linalg.norm(end - expected)
    assert error < tolerance * np.linalg.norm(expected - flat)


def test_center_loss_extent_and_cost(params):
    iteration = Iteration(lambda p: jnp.sum(p["out"] ** 2), optax.adam(0.1))
    flow = StableFlow()
    y = iteration.step(iteration.init(params))
    assert_trees_all_equal(flow.center(y), y.params)
    assert flow.predicted_loss(iteration, y) == iteration.loss(y.params)
    assert flow.extent(y) == 0.0
    assert flow.gradients == 1


def test_the_error_of_a_small_leaf_does_not_drown_in_that_of_others():
    """Steps are chosen by the leaf whose root mean square is the largest; empty ones have none."""
    norm = StableFlow().integrator.stepsize_controller.norm
    error = {"weights": jnp.full(10_000, 0.1), "nu": jnp.array(3.0), "empty": jnp.zeros((0, 2))}
    np.testing.assert_allclose(norm(error), 3.0, rtol=1e-6)
    np.testing.assert_allclose(norm(error | {"nu": jnp.array([3.0, 4.0])}), 12.5**0.5, rtol=1e-6)
