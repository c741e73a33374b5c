import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close, assert_trees_all_equal
from jax.flatten_util import ravel_pytree

import rodflow
from rodflow import FlowTracking, Integrator, RodFlow, StableFlow, Tracker, Tracking

WARMUP, EVERY, RECORDS = 3, 5, 6
STEPS = np.arange(1, RECORDS + 1) * EVERY
HEUN = Integrator(diffrax.Heun(), 0.25)
ONE_STEP = RodFlow(rodflow.SignedRod(solver=rodflow.LookbackEuler()))


def at(index, tree):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def flat(tree):
    """Return (steps, parameters) from a stacked tree, in NumPy."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def three_step_mean(values):
    return (values[STEPS - 1] + 2 * values[STEPS] + values[STEPS + 1]) / 4


@pytest.fixture
def tracker(network_loss):
    return Tracker(
        network_loss,
        optax.adam(0.02),
        {"stable": StableFlow(), "rod": RodFlow(), "one_step": ONE_STEP},
        {"stable": HEUN},
        every=EVERY,
        twins=2,
        observe=lambda state: {"count": state.opt_state[0].count, "out": state.params["out"]},
        observe_flows=lambda state: (state.opt_state[0].count, state.params),
    )


class Oracle:
    """Midpoints and mean losses of the stored trajectory of an Optax run, in NumPy."""

    def __init__(self, loss, tx, params, optax_run):
        weights, memories = optax_run(loss, tx, params, WARMUP + STEPS[-1] + 1)
        # Entry t is the state after WARMUP + t steps.
        self.weights, self.memories = at(slice(WARMUP - 1, None), (weights, memories))
        self.losses = np.asarray(jax.vmap(loss)(self.weights))
        self.start = flat(self.weights)[0]
        self.mid, self.mean_loss = three_step_mean(flat(self.weights)), three_step_mean(self.losses)


@pytest.mark.usefixtures("x64")
def test_records_are_those_of_stored_trajectories(tracker, params, optax_run):
    iteration = tracker.iteration
    loss, tx = iteration.loss_fn, iteration.tx
    # Twins one rounding unit away would be lost in the rounding of two programs: put them further.
    starts = [params, *(jax.tree.map(lambda x, d=d: x + d, params) for d in (0.01, -0.02))]
    states = [tracker.init(start, WARMUP) for start in starts]
    twins = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[state.run for state in states[1:]])
    _, tracking = tracker.run(states[0]._replace(twins=twins), RECORDS)
    run, *others = [Oracle(loss, tx, start, optax_run) for start in starts]
    close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)

    np.testing.assert_array_equal(tracking.steps, STEPS)
    np.testing.assert_array_equal(tracking.diverged_at, -1)
    close(tracking.loss, run.losses[STEPS])
    close(tracking.mean_loss, run.mean_loss)
    close(tracking.travelled, np.linalg.norm(run.mid - run.start, axis=1))
    close(
        tracking.floor,
        np.mean([np.linalg.norm(other.mid - run.mid, axis=1) for other in others], axis=0),
    )
    np.testing.assert_array_equal(tracking.observed["count"], WARMUP + STEPS)
    close(tracking.observed["out"], run.weights["out"][STEPS])

    mean_mid = np.mean([each.mid for each in (run, *others)], axis=0)
    ensemble_loss = np.mean([each.mean_loss for each in (run, *others)], axis=0)
    start = rodflow.PhaseState(
        at(0, run.weights), jax.tree.map(lambda leaf: leaf[0].astype(float), run.memories)
    )
    integrators = {
        "stable": HEUN,
        "rod": Integrator(rodflow.OneLegLookback(), 0.5),
        "one_step": Integrator(rodflow.LookbackEuler(), 0.5),
    }
    for name, integrator in integrators.items():
        flow, record = tracker.flows[name], tracking.flows[name]

        @jax.jit
        def solve(start, flow=flow, integrator=integrator):
            ys = diffrax.diffeqsolve(
                flow.term(iteration),
                integrator.solver,
                0.0,
                STEPS[-1],
                integrator.dt0,
                flow.init(iteration, start),
                saveat=diffrax.SaveAt(ts=jnp.asarray(STEPS, float)),
            ).ys
            losses = jax.vmap(lambda y: flow.predicted_loss(iteration, y))(ys)
            return jax.vmap(flow.center)(ys), losses, jax.vmap(flow.extent)(ys)

        centers, losses, extents = solve(start)
        close(record.distance, np.linalg.norm(flat(centers) - run.mid, axis=1))
        close(record.loss, losses)
        close(record.loss_error, abs(losses - run.mean_loss) / run.mean_loss)
        close(record.extent, extents)
        count, observed = record.observed
        close(count, WARMUP + STEPS)
        close(flat(observed), flat(centers))
        close(record.ensemble_distance, np.linalg.norm(flat(centers) - mean_mid, axis=1))
        close(record.ensemble_loss_error, abs(losses - ensemble_loss) / ensemble_loss)
        np.testing.assert_array_equal(record.diverged_at, -1)
        # Steps times fields in a step times gradients in a field.
        work = {"stable": 4 * 2 * 1, "rod": 2 * 1 * 2, "one_step": 2 * 2 * 2}
        np.testing.assert_array_equal(record.gradients, work[name])
    assert np.all(np.diff(tracking.flows["rod"].extent) != 0)
    np.testing.assert_array_equal(tracking.flows["stable"].extent, 0.0)


def test_twins_and_chunks(params, network_loss):
    tx = optax.adam(0.02)
    tracker = Tracker(network_loss, tx, {"rod": RodFlow()}, every=EVERY, twins=2)
    state = tracker.init(params, WARMUP)
    one, other = flat(state.twins.params)
    assert np.any(one != other)
    again = tracker.init(params, WARMUP, jax.random.key(0))
    assert_trees_all_equal(again.twins, state.twins)
    elsewhere = tracker.init(params, WARMUP, jax.random.key(1))
    assert np.any(flat(elsewhere.twins.params) != flat(state.twins.params))

    end, whole = tracker.run(state, RECORDS)
    assert jnp.all(whole.floor > 0) and jnp.all(whole.floor < 1e-5)
    # The ensemble is a few rounding units away from the run.
    rod = whole.flows["rod"]
    assert_trees_all_close(rod.ensemble_distance, rod.distance, rtol=1e-3)
    assert_trees_all_close(rod.ensemble_loss_error, rod.loss_error, atol=1e-5)

    middle, first = tracker.run(state, RECORDS // 2)
    restored = jax.tree.map(jnp.asarray, jax.device_get(middle))  # saved and read again
    last, second = tracker.run(restored, RECORDS // 2)
    pieces = jax.tree.map(lambda *parts: jnp.concatenate(parts), first, second)
    assert_trees_all_equal(pieces, whole)
    assert_trees_all_equal(last, end)


def test_lanes_are_their_own_runs_and_one_program_serves_all(params, network_loss):
    traces = 0
    flat_params, unravel = ravel_pytree(params)

    def loss(p):
        nonlocal traces
        traces += 1
        return network_loss(unravel(p))

    def member(learning_rate, b1, weight_decay, seed):
        start = flat_params + 0.1 * jax.random.normal(jax.random.key(seed), flat_params.shape)
        tx = optax.adamw(learning_rate, b1=b1, weight_decay=weight_decay)
        return rodflow.track(loss, tx, start, num_steps=20, warmup=2, every=5)

    grid = (
        jnp.array([0.01, 0.05, 0.02, 1e6]),
        jnp.array([0.9, 0.5, 0.8, 0.9]),
        jnp.array([0.0, 0.1, 0.5, 0.1]),
        jnp.array([0, 1, 2, 3]),
    )
    lanes = jax.jit(jax.vmap(member))(*grid)
    alone = jax.jit(member)
    first = alone(*at(0, grid))
    traces = 0
    runs = [first, *(alone(*at(lane, grid)) for lane in (1, 2))]
    assert traces == 0
    for index, run in enumerate(runs):
        lane = at(index, lanes)
        for field in ("steps", "loss", "mean_loss", "travelled", "diverged_at"):
            np.testing.assert_allclose(getattr(lane, field), getattr(run, field), rtol=1e-4)
        assert_trees_all_close(lane.flows["rod"], run.flows["rod"], rtol=1e-3, atol=1e-5)
        # A rounding may change the adaptive steps of the stable flow, good to 1e-3 at every step.
        for field in ("distance", "loss", "diverged_at"):
            values = [getattr(each.flows["stable"], field) for each in (lane, run)]
            np.testing.assert_allclose(*values, rtol=5e-3, atol=5e-4)
        assert run.floor is None
        assert run.observed is None
        assert run.flows["rod"].ensemble_distance is None
        assert run.flows["rod"].ensemble_loss_error is None
    # The last lane has gone far away at once, and says so.
    lost = at(3, lanes)
    assert jnp.all((lost.diverged_at > 0) & (lost.diverged_at <= 5))
    assert jnp.all(jnp.isnan(lost.loss)) and jnp.all(jnp.isnan(lost.flows["rod"].distance))
    for name, value in lanes.improvement().items():
        assert name == "rod"
        assert value.shape == (4,)
        assert jnp.all(jnp.isfinite(value[:3])) and jnp.isnan(value[3])


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_gradients_with_respect_to_hyperparameters():
    """Reverse mode through the discrete run and the rod flow, against finite differences."""

    def final(learning_rate):
        tracking = rodflow.track(
            lambda w: jnp.sum(jnp.array([1.0, 2.0]) * jnp.cos(w)),
            optax.sgd(learning_rate, momentum=0.9),
            jnp.ones(2),
            num_steps=4,
            warmup=1,
            every=2,
            flows={"rod": RodFlow()},
        )
        return tracking.flows["rod"].distance[-1]

    eps = 1e-6
    rates = 0.05 + eps * jnp.array([0.0, 1.0, -1.0])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(final)))(rates)
    np.testing.assert_allclose(slopes[0], (values[1] - values[2]) / (2 * eps), rtol=1e-5)


def parabola(w):
    return jnp.sum(w**2)


@pytest.mark.parametrize("every", [1, 4])
def test_a_run_that_diverges_is_marked_and_stops(every):
    """w[t] = (-10)^t grows by more than 1e6 (1 + |w[0]|) at t = 7, and so does Euler's flow."""
    tracking = rodflow.track(
        parabola,
        optax.sgd(5.5),
        jnp.array([1.0]),
        num_steps=12,
        warmup=0,
        every=every,
        flows={"stable": StableFlow(), "rod": RodFlow()},
        integrators={"stable": Integrator(diffrax.Euler(), 1.0)},
    )
    steps = np.arange(every, 13, every)
    np.testing.assert_array_equal(tracking.steps, steps)
    expected = np.where(steps < 7, -1, 7)
    np.testing.assert_array_equal(tracking.diverged_at, expected)
    np.testing.assert_array_equal(tracking.flows["stable"].diverged_at, expected)
    np.testing.assert_array_equal(np.isnan(tracking.loss), steps >= 7)
    np.testing.assert_allclose(tracking.loss[steps < 7], 100.0 ** steps[steps < 7], rtol=1e-5)
    for flow in tracking.flows.values():
        for numbers in (flow.distance, flow.loss, flow.loss_error, flow.extent):
            assert np.all(np.isnan(numbers[steps >= 8]))
    # No more gradients are spent on what has stopped.
    np.testing.assert_array_equal(tracking.flows["stable"].gradients[steps >= 7 + every], 0.0)


def test_a_flow_that_diverges_leaves_the_run_alone():
    """A coarse solver grows by -5 every four steps where the run shrinks by -1/2 a step."""
    tracking = rodflow.track(
        parabola,
        optax.sgd(0.75),
        jnp.array([1.0]),
        num_steps=48,
        warmup=0,
        every=4,
        flows={
            "stable": StableFlow(),
            "coarse": StableFlow(),
            "short": StableFlow(),
            "corrected": StableFlow(corrected=True),
        },
        integrators={
            "corrected": Integrator(diffrax.Euler(), 0.5),
            "coarse": Integrator(diffrax.Euler(), 4.0),
            "short": Integrator(diffrax.Euler(), 0.25, max_steps=2),
        },
    )
    coarse, short = tracking.flows["coarse"], tracking.flows["short"]
    steps = tracking.steps
    # 5^9 < 2e6 < 5^10
    np.testing.assert_array_equal(coarse.diverged_at, np.where(steps < 40, -1, 40))
    np.testing.assert_array_equal(np.isnan(coarse.distance), steps >= 40)
    # Two solver steps a step of size 1/4 come half as far as they should.
    np.testing.assert_array_equal(short.diverged_at, 2)
    assert jnp.all(jnp.isnan(short.distance))
    assert jnp.all(tracking.diverged_at == -1)
    np.testing.assert_allclose(tracking.loss, 0.25 ** np.asarray(steps), rtol=1e-5)
    assert jnp.all(jnp.isfinite(tracking.flows["stable"].distance))
    assert jnp.isnan(tracking.improvement()["coarse"])
    # Two steps of Euler's method, and a gradient more in each to look back.
    np.testing.assert_array_equal(tracking.flows["corrected"].gradients, 4.0)


def test_large_second_moments_are_no_divergence():
    """Gradients of 1e6 whose squares are 1e12; the parameters move by the learning rate."""
    tracking = rodflow.track(
        lambda w: 5e5 * jnp.sum(w**2),
        rodflow.OPTIMIZERS["scalar_rmsprop"](1e-3),
        jnp.ones(3),
        num_steps=4,
        warmup=0,
        every=2,
        flows={"rod": RodFlow()},
    )
    np.testing.assert_array_equal(tracking.flows["rod"].diverged_at, -1)
    assert jnp.all(jnp.isfinite(tracking.flows["rod"].distance))


def test_a_rod_that_grows_about_a_centre_at_rest_diverges():
    """Beyond the edge of a quadratic the run grows by 1.5 a step, and so do the ends of the rod."""
    tracking = rodflow.track(
        lambda w: 10 * jnp.sum(w**2),
        optax.sgd(0.125),
        jnp.ones(1),
        num_steps=60,
        warmup=0,
        flows={"rod": RodFlow()},
    )
    run, rod = (int(x.diverged_at[-1]) for x in (tracking, tracking.flows["rod"]))
    assert run > 0 and abs(rod - run) < 10


def test_leaves_of_size_zero():
    def loss(p):
        return jnp.sum(p["a"] ** 4) + jnp.sum(p["b"])

    def tracked(loss, params):
        tx, flows = optax.sgd(0.01), {"stable": StableFlow()}
        return rodflow.track(loss, tx, params, num_steps=20, every=10, flows=flows)

    some = tracked(loss, {"a": jnp.ones(3), "b": jnp.zeros((0, 2))})
    known = tracked(lambda w: jnp.sum(w**4), jnp.ones(3))
    assert_trees_all_close(some.flows, known.flows, rtol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        (jnp.bfloat16, False),
        (jnp.float32, True),
        *(pytest.param(jnp.float16, wide, marks=pytest.mark.slow) for wide in (False, True)),
    ],
)
def test_types_of_parameters(dtype, wide):
    """Flows are solved in the default precision at least."""
    with jax.enable_x64(wide):
        tracker = Tracker(
            lambda w: jnp.sum((w - 1) ** 2),
            rodflow.OPTIMIZERS["adam"](0.1),
            every=5,
        )
        state = tracker.init(jnp.array([0.5, 3.0], dtype), warmup=2)
        state, tracking = tracker.run(state, 2)
        assert state.run.params.dtype == dtype
        for name, run in state.flows.items():
            assert tracker.flows[name].center(run.y).dtype == jnp.result_type(float)
        for flow in tracking.flows.values():
            np.testing.assert_array_equal(flow.diverged_at, -1)
            # Two steps of rounding at most.
            assert jnp.all(flow.distance < 0.1)


def test_a_loss_that_is_not_finite_later_ends_the_run():
    """Three steps of 0.3 go from 1 to 0.1, and the fourth to where there is no loss."""
    tracking = rodflow.track(
        lambda w: jnp.sum(jnp.where(w > 0, w, jnp.nan)),
        optax.sgd(0.3),
        jnp.array([1.0]),
        num_steps=6,
        warmup=0,
        every=1,
        flows={},
    )
    np.testing.assert_array_equal(tracking.diverged_at, [-1, -1, -1, 4, 4, 4])
    np.testing.assert_allclose(tracking.loss[:3], [0.7, 0.4, 0.1], rtol=1e-5)
    assert jnp.all(jnp.isnan(tracking.loss[3:]))


def test_every_step_may_be_recorded(params, network_loss):
    def run(every):
        tx = optax.sgd(0.25, momentum=0.5)
        return rodflow.track(network_loss, tx, params, num_steps=12, every=every, flows={})

    dense, sparse = run(1), run(4)
    np.testing.assert_array_equal(dense.steps, np.arange(1, 13))
    np.testing.assert_array_equal(sparse.steps, [4, 8, 12])
    np.testing.assert_allclose(sparse.loss, dense.loss[3::4], rtol=1e-6)
    np.testing.assert_allclose(sparse.mean_loss, dense.mean_loss[3::4], rtol=1e-6)
    np.testing.assert_allclose(sparse.travelled, dense.travelled[3::4], rtol=1e-5)
    before, now, after = dense.loss[:-2], dense.loss[1:-1], dense.loss[2:]
    np.testing.assert_allclose(dense.mean_loss[1:-1], (before + 2 * now + after) / 4, rtol=1e-6)


def tracking_of(distances):
    values = {name: np.array(distance) for name, distance in distances.items()}
    flows = {name: FlowTracking(value, *[None] * 10) for name, value in values.items()}
    return Tracking(*[None] * 8, flows=flows)


def test_improvement_is_the_ratio_of_mean_distances():
    tracking = tracking_of({"stable": [1.0, 5.0], "rod": [0.5, 1.0], "other": [6.0, np.nan]})
    improvement = tracking.improvement()
    assert list(improvement) == ["rod", "other"]
    np.testing.assert_allclose(improvement["rod"], 4.0)
    assert np.isnan(improvement["other"])
    lanes = tracking_of({"rod": [[1.0, 1.0], [2.0, 4.0]], "stable": [[2.0, 4.0], [3.0, 3.0]]})
    np.testing.assert_allclose(lanes.improvement()["rod"], [3.0, 1.0])
    with pytest.raises(ValueError, match=r"named 'stable'; there are \['rod'\]"):
        tracking_of({"rod": [1.0]}).improvement()


def test_memory_does_not_grow_with_the_number_of_steps():
    def temporary_bytes(num_steps):
        @jax.jit
        def run(params):
            flows = {"rod": RodFlow()}
            return rodflow.track(
                parabola, optax.sgd(0.1, momentum=0.9), params, num_steps, every=1, flows=flows
            )

        return run.lower(jnp.ones(100)).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(1000) <= temporary_bytes(10)


def allotted(function, *arguments):
    analysis = jax.jit(function, donate_argnums=0).lower(*arguments).compile().memory_analysis()
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return held - analysis.alias_size_in_bytes + analysis.temp_size_in_bytes


def test_memory_is_a_doubled_gradient_and_a_dozen_times_parameters_and_state():
    inputs = jax.random.normal(jax.random.key(0), (8, 50, 4))

    def loss(weights):  # of a network whose activations XLA begins to evaluate ahead of time
        enter, again = weights[: 4 * 32].reshape(4, 32), weights[4 * 32 :].reshape(32, 32)
        first = jnp.zeros((50, 32))
        last, _ = jax.lax.scan(lambda h, x: (jnp.tanh(x + h @ again), None), first, inputs @ enter)
        return jnp.mean(jnp.square(last))

    weights = 0.1 * jax.random.normal(jax.random.key(1), (36 * 32,))
    tracker = Tracker(loss, optax.adam(1e-3), {"rod": RodFlow()})
    state = jax.eval_shape(tracker.init, weights)
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state.run.state))
    gradient = allotted(jax.vmap(jax.grad(loss)), jnp.stack([weights, weights]))
    tracked = allotted(lambda state: tracker.run(state, 1), state)
    assert tracked <= gradient + 12 * held


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(every=0), "`every` is 0; it must be at least 1"),
        (dict(num_steps=9), "`num_steps` is 9; it must be at least 10"),
        (dict(num_steps=-1, every=1), "`num_steps` is -1"),
        (dict(warmup=-2), "`warmup` is -2; it must be at least 0"),
        (dict(twins=-1), "`twins` is -1; it must be at least 0"),
        (dict(integrators={"rood": HEUN}), r"names \['rood'\]; the flows are \['stable', 'rod'\]"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        rodflow.track(parabola, optax.sgd(0.1), jnp.ones(2), **arguments)


def test_what_an_iteration_refuses_is_refused():
    with pytest.raises(ValueError, match="it must be finite"):
        rodflow.track(lambda w: jnp.sum(1 / w), optax.sgd(0.1), jnp.zeros(2))
    with pytest.raises(ValueError, match="int32"):
        rodflow.track(parabola, optax.sgd(0.1), jnp.arange(2))
