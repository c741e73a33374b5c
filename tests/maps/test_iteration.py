import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import (
    assert_trees_all_close,
    assert_trees_all_equal,
    assert_trees_all_equal_shapes_and_dtypes,
)

import rodflow

STEPS = 20


def trajectory(iteration, params):
    """States, increments and losses at the steps 0, ..., STEPS."""

    def step(state, _):
        loss, after = iteration.advance(state)
        return iteration.step(state), (state, iteration.increment(state), after, loss)

    state = iteration.init(params)
    return jax.jit(lambda z: jax.lax.scan(step, z, length=STEPS + 1)[1])(state)


def at(steps, tree):
    return jax.tree.map(lambda leaf: leaf[steps], tree)


@pytest.mark.usefixtures("x64")
def test_steps_are_those_of_optax(network, params, optax_run):
    states, increments, advanced, losses = trajectory(network, params)
    after = at(slice(1, None), states)
    weights, memories = optax_run(network.loss_fn, network.tx, params, STEPS)
    assert_trees_all_close(after.params, weights, rtol=1e-12, atol=1e-13)
    # The same tree with every leaf a float: counters that Optax keeps as integers are clocks.
    as_floats = jax.tree.map(lambda leaf: leaf.astype(float), memories)
    assert_trees_all_equal_shapes_and_dtypes(after.opt_state, as_floats)
    assert_trees_all_close(after.opt_state, as_floats, rtol=1e-12, atol=1e-13)

    before = at(slice(-1), states)
    assert_trees_all_equal_shapes_and_dtypes(increments, states)
    assert_trees_all_close(
        after,
        jax.tree.map(jnp.add, before, at(slice(-1), increments)),
        rtol=1e-15,  # one rounding of the sum, one of the difference
        atol=1e-15,
    )
    assert_trees_all_close(at(slice(-1), advanced), after, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(losses[1:], jax.vmap(network.loss)(weights), rtol=1e-12)


@pytest.mark.parametrize("chain", ["clipped_adam_cosine", "partition"], indirect=True)
def test_hyperparameters_may_be_traced(chain, params, network, optax_run):
    learning_rates = jnp.array([0.01, 0.1])

    def member(learning_rate):
        iteration = rodflow.Iteration(network.loss, chain(learning_rate))
        return iteration.step(iteration.step(iteration.init(params))).params

    lanes = jax.jit(jax.vmap(member))(learning_rates)
    for lane, learning_rate in enumerate(learning_rates):
        weights, _ = optax_run(network.loss, chain(learning_rate), params, 2)
        assert_trees_all_close(at(lane, lanes), at(-1, weights), rtol=1e-5, atol=1e-6)


def test_respond_takes_the_gradient_it_is_given(params):
    slope = jax.tree.map(jnp.cos, params)
    iteration = rodflow.Iteration(lambda p: optax.tree.vdot(slope, p), optax.adam(0.1))

    @jax.jit
    def responses(params):
        state = iteration.init(params)
        respond = [iteration.respond(state, optax.tree.scale(sign, slope)) for sign in (1, -1)]
        return iteration.increment(state), *respond

    increment, same, opposite = responses(params)
    assert_trees_all_close(same, increment, rtol=1e-6)
    (adam, _), (opposite_adam, _) = increment.opt_state, opposite.opt_state
    assert_trees_all_close(opposite_adam.nu, adam.nu, rtol=1e-6)
    assert_trees_all_close(opposite_adam.mu, optax.tree.scale(-1, adam.mu), rtol=1e-6)
    assert_trees_all_close(opposite.params, optax.tree.scale(-1, increment.params), rtol=1e-6)


def test_narrow_parameters_keep_their_type():
    params = {"a": jnp.ones(3, jnp.bfloat16), "b": jnp.ones(2, jnp.float32)}
    iteration = rodflow.Iteration(
        lambda p: sum(jnp.sum(x.astype(jnp.float32) ** 2) for x in p.values()), optax.adam(0.1)
    )
    state = iteration.init(params)
    assert state.opt_state[0].mu["a"].dtype == jnp.bfloat16
    for same_kind in (iteration.step, iteration.increment):
        assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(same_kind, state), state)


def test_arrays_of_numpy_are_parameters():
    iteration = rodflow.Iteration(lambda w: jnp.sum(w**2), optax.sgd(0.25))
    state = iteration.init(np.array([2.0, 4.0], np.float32))
    np.testing.assert_array_equal(iteration.step(state).params, [1.0, 2.0])


def test_flags_are_carried_and_act():
    """A gradient that is not finite is skipped by `apply_if_finite`, and the flag says so."""
    tx = optax.apply_if_finite(optax.sgd(0.1), max_consecutive_errors=3)
    iteration = rodflow.Iteration(lambda w: jnp.sum(jnp.sqrt(w)), tx)
    state = iteration.init(jnp.array([1.0]))
    assert state.opt_state.last_finite == 1.0
    bad = state._replace(params=jnp.array([0.0]))  # where the slope is infinite
    after = iteration.step(bad)
    np.testing.assert_array_equal(after.params, bad.params)
    assert after.opt_state.last_finite == 0.0
    assert after.opt_state.total_notfinite == 1.0
    assert iteration.increment(bad).opt_state.last_finite == -1.0


def test_a_flag_that_is_read_is_a_flag():
    def update(updates, state, params=None):
        return jax.lax.select(state, -0.5 * updates, updates), state

    tx = optax.GradientTransformation(lambda params: jnp.array(True), update)
    iteration = rodflow.Iteration(quadratic, tx)
    after = iteration.step(iteration.init(jnp.array([2.0, 4.0])))
    np.testing.assert_array_equal(after.params, [0.0, 0.0])
    assert after.opt_state == 1.0


def test_increments_below_the_rounding_of_the_parameters_survive():
    """A flow adds up many small increments: they must not be differences of rounded parameters."""
    iteration = rodflow.Iteration(jnp.sum, optax.sgd(1e-9))
    state = iteration.init(jnp.ones(2))
    np.testing.assert_array_equal(iteration.step(state).params, state.params)
    np.testing.assert_allclose(iteration.increment(state).params, -1e-9, rtol=1e-6)


def test_gradients_come_from_one_evaluation_of_the_loss():
    """The host counts the evaluations; and the loss is traced once for all of them."""
    traced, evaluated = [], []

    def loss(w):
        traced.append(w)
        jax.debug.callback(lambda: evaluated.append(None))
        return jnp.sum(w**2)

    iteration = rodflow.Iteration(loss, optax.adam(0.1))
    state = iteration.init(jnp.ones(2))
    traced.clear()
    for evaluate in (iteration.step, iteration.increment, iteration.advance):
        jax.effects_barrier()
        evaluated.clear()
        jax.block_until_ready(jax.jit(evaluate)(state))
        jax.effects_barrier()
        assert len(evaluated) == 1
    assert len(traced) == 1


def test_an_iteration_is_a_value(params, network_loss):
    """It equals another one of the same parts, does not change, and needs no `init` before."""
    tx = optax.adam(0.1)
    iteration, same = (rodflow.Iteration(network_loss, tx) for _ in range(2))
    assert iteration == same and hash(iteration) == hash(same)
    assert iteration != rodflow.Iteration(network_loss, optax.adam(0.1))
    found = []
    jax.jit(lambda p: found.append(iteration.parity(p)))(params)
    state = iteration.init(params)
    assert found == [iteration.parity(params)]
    assert jax.tree.structure(found[0]) == jax.tree.structure(state)
    jax.jit(iteration.step)(state)
    assert iteration == same
    with pytest.raises(AttributeError):
        iteration.tx = optax.sgd(0.1)


def test_a_placement_makes_another_iteration(params, network_loss):
    iteration = rodflow.Iteration(network_loss, optax.adam(0.1))
    mesh = jax.make_mesh((1,), ("shards",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    placed = iteration.at((sharding, sharding))
    assert placed.placement == (sharding, sharding) and iteration.placement is None
    assert placed != iteration and placed.at(None) == iteration
    # Whole arrays need no placement, and that of traced ones is not known: it stays as it was.
    assert placed.placed(params) == iteration
    seen = []
    jax.jit(lambda p: seen.append(placed.placed(p)))(params)
    assert seen == [placed]
    state = iteration.init(params)
    assert_trees_all_equal(jax.jit(placed.step)(state), jax.jit(iteration.step)(state))


def quadratic(w):
    return jnp.sum(w**2)


def multi_steps(every):
    return optax.MultiSteps(optax.adam(0.1), every).gradient_transformation()


@pytest.mark.parametrize(
    ("loss", "params", "message"),
    [
        (quadratic, {"a": jnp.ones(2), "n": jnp.arange(3)}, r"params\['n'\] has dtype int32"),
        (quadratic, jnp.ones(2, jnp.complex64), "has dtype complex64"),
        (quadratic, jnp.ones(2, bool), "has dtype bool"),
        (quadratic, {}, "no leaves"),
        (lambda w: w**2, jnp.ones(2), r"returned float32\[2\]"),
        (lambda w: (jnp.sum(w), w), jnp.ones(2), r"returned float32\[\], float32\[2\]"),
        (lambda w: jnp.sum(w > 0), jnp.ones(2), r"returned int32\[\]"),
        (lambda w: None, jnp.ones(2), "returned nothing"),
        (lambda w: jnp.log(w[0]), jnp.zeros(2), "is -inf; it must be finite"),
        (lambda w: jnp.sqrt(w[0]), -jnp.ones(2), "is nan; it must be finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_loss_or_no_parameter_is_refused(loss, params, message):
    iteration = rodflow.Iteration(loss, optax.sgd(0.1))
    with pytest.raises(ValueError, match=message):
        iteration.init(params)


@pytest.mark.parametrize(
    ("tx", "message"),
    [
        (optax.lbfgs(), "asks for value, grad, value_fn; .* .a line search"),
        (optax.lbfgs(0.1, linesearch=None), "jumps back and forth"),
        (optax.contrib.reduce_on_plateau(), "plateau_count .* neither counts the steps"),
        (optax.lookahead(optax.sgd(0.1), 5, 0.5), r"AttributeError \(.*no attribute .?fast\)"),
        (optax.contrib.sophia(0.1), r"ValueError \(obj_fn must be provided"),
        (
            optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.1), opaque_mode=True),
            r"ValueError \(grad_fn must be provided",
        ),
        (optax.noisy_sgd(0.1, key=jax.random.key(0)), "rng_key .* is a random key"),
        (optax.noisy_sgd(0.1, key=0), "rng_key .* is a random key"),
        (multi_steps(2), "mini_step .* neither counts the steps .* `rodflow.Epoch`"),
        (optax.apply_every(2), "count .* neither counts the steps"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_smooth_map_is_refused(tx, message):
    iteration = rodflow.Iteration(quadratic, tx)
    with pytest.raises(ValueError, match=message):
        iteration.init(jnp.ones(2))


@pytest.mark.parametrize(
    "tx",
    [multi_steps(8), optax.apply_every(8)],
    ids=["MultiSteps", "apply_every"],
)
def test_counters_that_wrap_late_are_refused_too(tx):
    iteration = rodflow.Iteration(quadratic, tx)
    with pytest.raises(ValueError, match="neither counts the steps"):
        iteration.init(jnp.ones(2))


def test_an_error_inside_a_transformation_is_named():
    def broken(updates, state, params):
        raise TypeError("something else")

    iteration = rodflow.Iteration(
        quadratic, optax.GradientTransformation(lambda p: optax.EmptyState(), broken)
    )
    with pytest.raises(ValueError, match=r"it raised TypeError \(something else\)") as caught:
        iteration.init(jnp.ones(2))
    assert isinstance(caught.value.__cause__, TypeError)


def optax_steps(tx, params, count, **extra):
    """Return the parameters after each of some steps of Optax alone, on `quadratic`."""
    opt_state, found = tx.init(params), []
    for _ in range(count):
        arguments = {name: of(params) for name, of in extra.items()}
        updates, opt_state = tx.update(jax.grad(quadratic)(params), opt_state, params, **arguments)
        params = optax.apply_updates(params, updates)
        found.append(params)
    return found


def steps_of(iteration, state, count):
    found = []
    for _ in range(count):
        state = iteration.step(state)
        found.append(state.params)
    return found


def test_a_transformation_that_asks_for_the_loss_gets_it():
    tx, params = optax.polyak_sgd(max_learning_rate=0.3), jnp.array([1.0, -2.0])
    iteration = rodflow.Iteration(quadratic, tx)
    state = iteration.init(params)
    expected = optax_steps(tx, params, 3, value=quadratic)
    np.testing.assert_allclose(steps_of(iteration, state, 3), expected, rtol=1e-6)
    # loss / |gradient|^2 is 1/4, and the update half of the parameters.
    np.testing.assert_allclose(iteration.increment(state).params, -params / 2, rtol=1e-6)
    np.testing.assert_allclose(iteration.respond(state, 4 * params).params, -params / 4, rtol=1e-6)


def test_an_epoch_gives_each_step_the_loss_of_its_batch():
    tx, batches = optax.polyak_sgd(max_learning_rate=9.0), jnp.array([1.0, -3.0])
    loss = rodflow.Minibatches(lambda w, b: (w - b) ** 2, batches)
    epoch = rodflow.Epoch(loss, tx)
    # Each step halves the distance from the batch's minimum: .5, then -1.25.
    found = epoch.step(epoch.init(jnp.array(0.0))).params
    assert found == pytest.approx(-1.25)


TABLE = jnp.array([0.1, 0.3, 0.2, 0.4])


def test_a_table_of_learning_rates_is_itself_at_every_step_and_linear_between():
    tx, params = optax.sgd(lambda count: TABLE[count]), jnp.array([1.0, -2.0])
    iteration = rodflow.Iteration(quadratic, tx)
    state = iteration.init(params)
    np.testing.assert_array_equal(steps_of(iteration, state, 4), optax_steps(tx, params, 4))
    half = jax.tree.map(lambda clock: clock + 1.25, state.opt_state)
    moved = iteration.increment(state._replace(opt_state=half))
    rate = 0.3 + 0.25 * (0.2 - 0.3)
    np.testing.assert_allclose(moved.params, -rate * 2 * params, rtol=1e-6)
    assert jax.tree.leaves(moved.opt_state) == [1.0]


def test_a_branch_chosen_by_a_counter_is_one_of_a_table():
    branches = [lambda: 0.1, lambda: 0.3]
    tx = optax.sgd(lambda count: jax.lax.switch(jnp.minimum(count, 1), branches))
    iteration = rodflow.Iteration(quadratic, tx)
    state = iteration.init(jnp.ones(2))
    half = state._replace(opt_state=jax.tree.map(lambda clock: clock + 0.5, state.opt_state))
    np.testing.assert_allclose(iteration.increment(half).params, -0.4, rtol=1e-6)


@pytest.mark.parametrize(
    "tx",
    [optax.optimistic_gradient_descent(0.1), optax.contrib.dog(1.0)],
    ids=["optimistic", "dog"],
)
def test_a_flag_of_the_first_step_is_carried(tx):
    params = jnp.array([1.0, -2.0])
    iteration = rodflow.Iteration(quadratic, tx)
    state = iteration.init(params)
    expected = optax_steps(tx, params, 4)
    np.testing.assert_allclose(steps_of(iteration, state, 4), expected, rtol=1e-6)


def skipped(period):
    return optax.conditionally_mask(optax.sgd(0.1), lambda step: step % period == 0)


@pytest.mark.parametrize(
    "tx",
    [
        skipped(2),
        skipped(3),
        optax.conditionally_transform(optax.trace(0.9), lambda step: step % 2 == 0),
        optax.chain(
            optax.conditionally_mask(optax.clip(1.0), lambda s: s % 2 == 0), optax.adam(0.1)
        ),
        optax.sgd(lambda step: 0.1 * (1 - 2 * (step % 2))),
        optax.sgd(lambda step: jnp.array([0.1, 0.2])[step % 2]),
    ],
    ids=["every 2nd", "every 3rd", "trace", "before adam", "sign", "table"],
)
def test_an_update_that_alternates_by_its_counter_is_refused(tx):
    with pytest.raises(ValueError, match="jumps back and forth from step to step"):
        rodflow.Iteration(quadratic, tx).init(jnp.ones(2))


@pytest.mark.parametrize(
    "schedule",
    [
        optax.piecewise_constant_schedule(0.1, {103: 0.2}),
        optax.exponential_decay(0.1, 5, 0.9, staircase=True),
        optax.cosine_decay_schedule(0.1, 110),
        optax.warmup_cosine_decay_schedule(0.0, 0.1, 104, 200),
    ],
    ids=["jump", "stairs", "cosine", "warmup"],
)
def test_a_schedule_that_is_smooth_but_for_a_jump_is_taken(schedule):
    rodflow.Iteration(quadratic, optax.adam(schedule)).init(jnp.ones(2))


def test_an_epoch_of_two_is_one_map_where_every_second_step_is_skipped():
    loss = rodflow.Minibatches(lambda w, b: jnp.sum((w - b) ** 2), jnp.ones((2, 2)))
    rodflow.Epoch(loss, skipped(2)).init(jnp.zeros(2))
    odd = rodflow.Minibatches(lambda w, b: jnp.sum((w - b) ** 2), jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="jumps back and forth"):
        rodflow.Epoch(odd, skipped(2)).init(jnp.zeros(2))


@pytest.mark.parametrize("where", ["state", "parameters"])
def test_empty_tuples_are_no_obstacle(where):
    """Also to Diffrax, which mistakes the one `()` of Python for another place of a tree."""
    memory = () if where == "state" else optax.EmptyState()
    tx = optax.GradientTransformation(
        lambda params: memory,
        lambda grads, state, params=None: (jax.tree.map(lambda g: -0.1 * g, grads), memory),
    )
    params = (jnp.ones(2), ()) if where == "parameters" else (jnp.ones(2),)
    tracking = rodflow.track(lambda p: quadratic(p[0]), tx, params, num_steps=10, warmup=0)
    # The iterates are .8^t; the midpoint is .9^2 / .8 of them, and the rod follows that of log.
    assert tracking.loss[0] == pytest.approx(2 * 0.8**20, rel=1e-4)
    assert tracking.flows["rod"].distance[0] < 0.1 * tracking.flows["stable"].distance[0]


def test_a_state_of_optax_is_a_point_of_phase_space():
    tx, params = optax.adam(0.1), jnp.ones(2)
    iteration = rodflow.Iteration(quadratic, tx)
    plain = rodflow.PhaseState(params, tx.init(params))
    for state in (plain, tuple(plain)):
        assert_trees_all_equal(iteration.check(state), iteration.init(params))
    assert_trees_all_equal(rodflow.StableFlow().init(iteration, plain), iteration.init(params))
