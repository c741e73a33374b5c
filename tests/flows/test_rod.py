import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close, assert_trees_all_equal

import rodflow
from rodflow import Iteration, LookbackEuler, OneLegLookback, Parity, RodFlow, SignedRod, StableFlow
from rodflow.solvers import work_per_step

STEPS = 20
pytestmark = pytest.mark.usefixtures("x64")


def add(a, b, sign=1.0):
    """Return a + sign * b; b has None where a leaf has no rod."""
    return jax.tree.map(
        lambda b, a: a if b is None else a + sign * b, b, a, is_leaf=lambda leaf: leaf is None
    )


def random_like(tree):
    random = np.random.default_rng(10)
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * random.normal(size=leaf.shape)), tree)


def unit_steps(flow, iteration, y0):
    """Return the first STEPS unit steps of LookbackEuler: the map itself."""

    def step(y, t):
        y = LookbackEuler().step(flow.term(iteration), t, t + 1, y, None, None, False)[0]
        return y, y

    return jax.jit(lambda y: jax.lax.scan(step, y, jnp.arange(float(STEPS)))[1])(y0)


def ends(ys):
    """Return c + (-1)^t x and c - (-1)^t x at the steps 1, 2, ..."""
    signs = (-1.0) ** jnp.arange(1, STEPS + 1)
    return [jax.vmap(add)(ys.c, ys.x, sign * signs) for sign in (1, -1)]


def as_optax(iteration, state):
    """Return the optimizer's state with the types that Optax gives it."""
    memory = jax.eval_shape(iteration.tx.init, state.params)
    return jax.tree.map(lambda like, leaf: leaf.astype(like.dtype), memory, state.opt_state)


def test_both_ends_of_the_rod_are_optax_runs(network, params, optax_run):
    """c + (-1)^t x and c - (-1)^t x solve the recursion of the map exactly.

    The exception are second moments, which are averaged over the ends. They are the same at both,
    and the pair exact again, if the loss is even about the centre, as the network's about zero.
    """
    state = network.init(params)
    if Parity.AUXILIARY in jax.tree.leaves(network.parity(params)):
        state = network.init(jax.tree.map(jnp.zeros_like, params))
    flow = RodFlow(SignedRod(seed=0.0))
    y = flow.init(network, state)
    y = y._replace(x=random_like(y.x))
    ys = unit_steps(flow, network, y)
    for sign, end in zip((1.0, -1.0), ends(ys), strict=True):
        start = add(y.c, y.x, sign)
        weights, memories = optax_run(
            network.loss_fn, network.tx, start.params, STEPS, as_optax(network, start)
        )
        assert_trees_all_close(end.params, weights, rtol=1e-10, atol=1e-12)
        memories = jax.tree.map(lambda leaf: leaf.astype(float), memories)
        assert_trees_all_close(end.opt_state, memories, rtol=1e-10, atol=1e-12)
    travelled = jax.tree.map(lambda leaf: leaf[-1] - leaf[0], ys.x.params)
    assert optax.tree.norm(travelled) > 0.01


@pytest.mark.parametrize(
    "chain",
    ["scalar_nadam", "adabelief", "clipped_adam_cosine", "masked_adam"],
    indirect=True,
)
def test_second_moments_are_averaged_over_the_ends(network, params):
    """On any loss the rod is a pair of Optax runs that share their second moments."""
    flow = RodFlow(SignedRod(seed=0.0))
    state = network.init(params)
    parity = network.parity(params).opt_state
    shared = jax.tree.map(lambda parity: parity is Parity.AUXILIARY, parity)

    def one(weights, memory):
        updates, memory = network.tx.update(jax.grad(network.loss)(weights), memory, weights)
        return optax.apply_updates(weights, updates), memory

    def pair(carry, _):
        weights, memories = jax.vmap(one)(*carry)
        memories = jax.tree.map(
            lambda is_shared, m: jnp.broadcast_to(m.mean(0), m.shape) if is_shared else m,
            shared,
            memories,
        )
        return (weights, memories), weights

    @jax.jit
    def oracle(plus, minus):
        both = [(end.params, as_optax(network, end)) for end in (plus, minus)]
        carry = jax.tree.map(lambda *leaves: jnp.stack(leaves), *both)
        return jax.lax.scan(pair, carry, length=STEPS)[1]

    y = flow.init(network, state)
    y = y._replace(x=random_like(y.x))
    weights = oracle(add(y.c, y.x), add(y.c, y.x, -1.0))
    for index, end in enumerate(ends(unit_steps(flow, network, y))):
        expected = jax.tree.map(lambda leaf, index=index: leaf[:, index], weights)
        assert_trees_all_close(end.params, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chain", ["nesterov", "adam"], indirect=True)
def test_a_rod_without_extent_or_seed_follows_the_run(network, params, optax_run):
    flow = RodFlow(SignedRod(seed=0.0, lookahead=0))
    ys = unit_steps(flow, network, flow.init(network, network.init(params)))
    weights, _ = optax_run(network.loss_fn, network.tx, params, STEPS)
    assert_trees_all_close(ys.c.params, weights, rtol=1e-11, atol=1e-13)
    assert optax.tree.norm(ys.x) < 1e-12  # the gradients at both ends may be rounded apart


@pytest.mark.parametrize("chain", ["heavy_ball", "nesterov"], indirect=True)
def test_the_end_of_the_rod_that_starts_at_an_iterate_follows_the_run(network, params, optax_run):
    flow = RodFlow(SignedRod(seed=0.0, lookahead=1))
    y = flow.init(network, network.init(params))
    assert optax.tree.norm(y.x) > 1e-3
    assert_trees_all_close(add(y.c, y.x).params, params, rtol=1e-14)
    end, _ = ends(unit_steps(flow, network, y))
    weights, _ = optax_run(network.loss_fn, network.tx, params, STEPS)
    assert_trees_all_close(end.params, weights, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("lookahead", [1, 4, 5])
def test_an_oscillation_that_is_there_is_found(lookahead):
    """At the edge of a quadratic the iterates alternate about its minimum for ever."""
    iteration = Iteration(lambda w: 10.0 * w[0] ** 2, optax.sgd(0.1))
    flow = RodFlow(SignedRod(lookahead=lookahead))
    y = flow.init(iteration, iteration.init(jnp.array([0.3])))
    np.testing.assert_allclose(y.x.params, [0.3], rtol=1e-14)
    np.testing.assert_allclose(y.c.params, [0.0], atol=1e-15)


def test_a_smooth_motion_is_no_oscillation():
    """The fourth difference of a polynomial of degree three vanishes."""
    schedule = optax.polynomial_schedule(0.3, 0.1, 2, 10)
    iteration = Iteration(jnp.sum, optax.sgd(schedule))
    y = RodFlow().init(iteration, iteration.init(jnp.ones(2)))
    assert optax.tree.norm(y.x) < 1e-15


def test_lookahead_is_checked():
    with pytest.raises(ValueError, match="`lookahead` is -1; it must be at least 0"):
        SignedRod(lookahead=-1)


def test_only_leaves_that_oscillate_have_a_rod(network, params):
    state = network.init(params)
    y = RodFlow(SignedRod(lookahead=0)).init(network, state)
    assert_trees_all_equal(y.c, state)

    def check(x, parity, leaf):
        if parity is Parity.OSCILLATING:
            np.testing.assert_array_equal(x, np.zeros(leaf.shape))
        else:
            assert x is None

    jax.tree.map(check, y.x, network.parity(params), state, is_leaf=lambda leaf: leaf is None)


@pytest.mark.parametrize("chain", ["adam"], indirect=True)
def test_the_seed_is_a_part_of_the_drift(network, params):
    """At x = 0 the field of x is kappa A, and nothing but: it restarts from there."""
    at_rest = RodFlow(SignedRod(lookahead=0))
    y = at_rest.init(network, network.step(network.init(params)))
    drift = jax.jit(network.increment)(y.c)
    for kappa in (0.0, 1e-3):
        field = eqx.filter_jit(RodFlow(SignedRod(seed=kappa)).increment)(network, y)
        assert_trees_all_close(field.c, drift, rtol=1e-12)
        expected = jax.tree.map(
            lambda x, a, kappa=kappa: None if x is None else kappa * a,
            y.x,
            drift,
            is_leaf=lambda leaf: leaf is None,
        )
        assert_trees_all_close(field.x, expected, rtol=1e-6)  # the seed may be float32


@pytest.mark.parametrize(
    ("dtype", "seed"), [(jnp.float64, 2.0**-39), (jnp.float32, 2.0**-10), (jnp.bfloat16, 1.0)]
)
def test_the_default_seed_is_in_units_of_rounding(dtype, seed):
    iteration, flow = Iteration(jnp.sum, optax.sgd(0.5)), RodFlow(SignedRod(lookahead=0))
    field = flow.increment(iteration, flow.init(iteration, iteration.init(jnp.ones(2, dtype))))
    np.testing.assert_array_equal(field.x.params, seed * field.c.params)
    assert field.x.params.dtype == dtype


def one_mode(sharpness, quartic=0.0):
    """Return the loss of a mode S w^2 / 2 - Q w^4 / 4 beside a mode that only drifts."""

    def loss(w):
        return sharpness * w[0] ** 2 / 2 - quartic * w[0] ** 4 / 4 + 0.1 * w[1]

    return loss


def gd_rod(loss, learning_rate, x, seed=0.0):
    iteration = Iteration(loss, optax.sgd(learning_rate))
    flow = RodFlow(SignedRod(seed=seed, lookahead=0))
    y = flow.init(iteration, iteration.init(jnp.zeros(2)))
    return flow, iteration, y._replace(x=y.x._replace(params=jnp.asarray(x)))


def solve(flow, iteration, y0, t1, dt0=0.5, solver=None, **kwargs):
    solver = solver or LookbackEuler()

    @eqx.filter_jit
    def run(term, y0):
        ys = diffrax.diffeqsolve(term, solver, 0.0, t1, dt0, y0, **kwargs).ys
        return jax.tree.map(lambda leaf: leaf[-1], ys)

    return run(flow.term(iteration), y0)


@pytest.mark.parametrize("sharpness", [3.0, 20.0, 21.0])
def test_a_quadratic_mode_grows_beyond_the_edge_and_decays_below(sharpness):
    """dx/dt = (lr S - 2) x, the published dSigma/dt up to the second order in the rate."""
    flow, iteration, y = gd_rod(one_mode(sharpness), 0.1, [0.3, 0.0])
    rate = 0.1 * sharpness - 2
    field = flow.increment(iteration, y)
    np.testing.assert_allclose(field.x.params, [rate * 0.3, 0.0], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(field.c.params, [0.0, -0.01], rtol=1e-13)
    end = solve(flow, iteration, y, 4.0)
    substep = 1 + rate / 2 * (1 - rate / 4)
    np.testing.assert_allclose(end.x.params[0], 0.3 * substep**8, rtol=1e-12, atol=1e-14)


def test_the_fixed_point_of_a_quartic_mode():
    """x*^2 = (S - 2 / lr) / Q beyond the edge: the field is zero there, and the flow finds it."""
    sharpness, quartic, learning_rate = 21.0, 5.0, 0.1
    length = np.sqrt((sharpness - 2 / learning_rate) / quartic)
    loss = one_mode(sharpness, quartic)
    flow, iteration, y = gd_rod(loss, learning_rate, [length, 0.0])
    np.testing.assert_allclose(flow.increment(iteration, y).x.params, 0.0, atol=1e-15)
    y = gd_rod(loss, learning_rate, [1e-3, 0.0])[2]
    np.testing.assert_allclose(flow.extent(solve(flow, iteration, y, 200.0)), length, rtol=1e-12)
    # It is a period-two orbit of the optimizer itself.
    w = jnp.array([length, 0.0])
    np.testing.assert_allclose((w - learning_rate * jax.grad(loss)(w))[0], -length, rtol=1e-13)


def test_there_is_no_fixed_point_below_the_edge():
    flow, iteration, y = gd_rod(one_mode(19.0, 5.0), 0.1, [0.3, 0.0])
    assert flow.extent(solve(flow, iteration, y, 200.0)) < 1e-6
    for x in (0.01, 1.0):
        y = gd_rod(one_mode(19.0, 5.0), 0.1, [x, 0.0])[2]
        assert flow.increment(iteration, y).x.params[0] < 0


def test_the_oscillation_restarts_from_the_seed():
    """Growth from kappa A, linear in kappa; from nothing without it."""

    @jax.jit
    def extent(seed):
        rod = gd_rod(lambda w: one_mode(22.0)(w) + 0.1 * w[0], 0.1, [0.0, 0.0], seed)
        return abs(solve(*rod, 40.0).x.params[0])

    assert extent(0.0) < 1e-15  # rounding, amplified
    np.testing.assert_allclose(extent(1e-3) / extent(1e-6), 1e3, rtol=1e-6)
    assert extent(1e-3) > 5e-3  # kappa A is 1e-5


def test_the_gradients_of_both_ends_are_one_batch():
    """The slope of the loss tells the host at what points it is evaluated."""
    shapes = []

    def slope(w):
        shapes.append(w.shape)
        return np.cos(w)

    @jax.custom_jvp
    def sine(w):
        return jnp.sin(w)

    @sine.defjvp
    def _(primals, tangents):
        (w,), (v,) = primals, tangents
        return jnp.sin(w), jax.pure_callback(slope, w, w, vmap_method="broadcast_all") * v

    iteration, flow = Iteration(lambda w: jnp.sum(sine(w)), optax.adam(0.1)), RodFlow()
    y, term = flow.init(iteration, iteration.init(jnp.ones(3))), flow.term(iteration)

    def seen(function):
        shapes.clear()
        jax.block_until_ready(jax.jit(function)(y))
        return shapes

    assert seen(lambda y: flow.increment(iteration, y)) == [(2, 3)]
    for solver, evaluations in ((OneLegLookback(), 1), (LookbackEuler(), 2)):
        state = solver.init(term, 0.0, 0.5, y, None)
        found = seen(lambda y: solver.step(term, 0.0, 0.5, y, None, state, False)[0])  # noqa: B023
        assert found == [(2, 3)] * evaluations
        assert work_per_step(solver, term, y).gradients == 2 * evaluations


def test_center_loss_and_extent():
    loss = one_mode(3.0, 1.0)
    flow, iteration, y = gd_rod(loss, 0.1, [0.3, 0.4])
    y = y._replace(c=y.c._replace(params=jnp.array([1.0, 2.0])))
    np.testing.assert_array_equal(flow.center(y), [1.0, 2.0])
    ends = loss(jnp.array([1.3, 2.4])), loss(jnp.array([0.7, 1.6]))
    np.testing.assert_allclose(flow.predicted_loss(iteration, y), sum(ends) / 2, rtol=1e-14)
    np.testing.assert_allclose(flow.extent(y), 0.5, rtol=1e-14)
    assert flow.integrator.dt0 == 0.5
    assert isinstance(flow.integrator.solver, OneLegLookback)
    np.testing.assert_allclose(flow.reach(y), 5**0.5 + 0.5, rtol=1e-6)


BOTH = pytest.mark.parametrize(
    "flow", [StableFlow(corrected=True), RodFlow()], ids=["stable", "rod"]
)


@BOTH
def test_diffrax_solvers_find_the_corrected_flow(flow, params, network_loss):
    """An adaptive one, those of fixed order and ours all solve one term, each to its accuracy."""
    iteration = Iteration(network_loss, optax.sgd(0.2, momentum=0.5))
    y = flow.init(iteration, iteration.init(params))
    if isinstance(flow, RodFlow):
        y = y._replace(x=jax.tree.map(lambda leaf: 0.1 * leaf, random_like(y.x)))
    controller = diffrax.PIDController(rtol=1e-8, atol=1e-11)
    fixed = diffrax.Heun(), diffrax.Euler(), LookbackEuler()

    @jax.jit
    def centers(h):
        tsit5 = solve(
            flow, iteration, y, 4.0, None, diffrax.Tsit5(), stepsize_controller=controller
        )
        others = [solve(flow, iteration, y, 4.0, h, solver) for solver in fixed]
        return [flow.center(y) for y in (tsit5, *others)]

    def errors(h):
        exact, *others = centers(h)
        return np.array([optax.tree.norm(optax.tree.sub(other, exact)) for other in others])

    orders = np.log2(errors(1 / 16) / errors(1 / 32))
    np.testing.assert_allclose(orders, [2.0, 1.0, 1.0], atol=0.1)


@pytest.mark.parametrize("x", [0.0, 0.5], ids=["at rest", "oscillating"])
def test_every_solver_follows_the_iterates_to_second_order(x):
    """The error after four steps is of third order in the field if it is corrected once.

    The valley is at the edge, so that the field of centre and rod is of the size of `size`: the
    iterates are (+-x[t], c[t]). Not corrected, or twice, the error would be of second order.
    """
    start = jnp.array([x, 0.3])
    tight = dict(dt0=None, stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-12))
    flow = RodFlow(SignedRod(seed=0.0, lookahead=0))

    @jax.jit
    def errors(size):
        def loss(w):
            extra = w[1] * w[0] ** 2 / 2 - w[0] ** 4 / 4 + jnp.cosh(w[1] - 1)
            return w[0] ** 2 + size * extra

        iteration = Iteration(loss, optax.sgd(1.0))
        state = iteration.init(start)
        end = jax.lax.fori_loop(0, 4, lambda _, z: iteration.step(z), state).params
        y = flow.init(iteration, state._replace(params=start * jnp.array([0.0, 1.0])))
        y = y._replace(x=y.x._replace(params=start * jnp.array([1.0, 0.0])))
        raw = diffrax.ODETerm(lambda t, y, args: flow.increment(iteration, y))
        ends = [
            solve(flow, iteration, y, 4.0, solver=diffrax.Tsit5(), **tight),
            solve(flow, iteration, y, 4.0, solver=LookbackEuler()),
            diffrax.diffeqsolve(raw, diffrax.Tsit5(), 0.0, 4.0, y0=y, **tight).ys,
        ]
        ends[-1] = jax.tree.map(lambda leaf: leaf[-1], ends[-1])
        return jnp.stack([jnp.linalg.norm(y.c.params + y.x.params - end) for y in ends])

    orders = np.log2(errors(1 / 32) / errors(1 / 64))
    np.testing.assert_allclose(orders, [3.0, 3.0, 2.0], atol=0.15)


@BOTH
@pytest.mark.parametrize("solver", [LookbackEuler(), OneLegLookback()], ids=["two", "one"])
def test_solvers_that_look_back_step_from_the_increment_itself(flow, solver, params, network_loss):
    """They correct once: a step on a flow's term is one on a plain term of its increment."""
    iteration = Iteration(network_loss, optax.adam(1 / 16))
    y = flow.init(iteration, iteration.step(iteration.init(params)))
    plain = diffrax.ODETerm(lambda t, y, args: flow.increment(iteration, y))

    @jax.jit
    def ends(y):
        found = []
        for term in (flow.term(iteration), plain):
            end, state = y, solver.init(term, 0.0, 0.5, y, None)
            for t in (0.0, 0.5, 1.0):
                end, _, _, state, _ = solver.step(term, t, t + 0.5, end, None, state, False)
            found.append(end)
        return found

    assert_trees_all_close(*ends(y), rtol=1e-12)


@pytest.mark.slow
def test_an_adaptive_diffrax_solver_is_about_as_close_as_the_default_one():
    """Through the edge of stability, on the problem of the README's first example."""
    with jax.enable_x64(False):
        x = jnp.linspace(-2, 2, 40)[:, None]

        def loss(p):
            return jnp.mean((jnp.tanh(x @ p["a"] + p["b"]) @ p["c"] - jnp.sin(3 * x)) ** 2)

        a, c = jax.random.normal(jax.random.key(0), (2, 20))
        params = {"a": a[None], "b": jnp.zeros(20), "c": c[:, None] / 5}
        tracking = rodflow.track(
            loss,
            optax.rmsprop(5e-3, decay=0.99),
            params,
            num_steps=300,
            flows={"stable": StableFlow(), "rod": RodFlow(), "adaptive": RodFlow()},
            integrators={
                "adaptive": rodflow.Integrator(
                    diffrax.Tsit5(), None, diffrax.PIDController(rtol=1e-3, atol=1e-6)
                )
            },
        )
    improvement = tracking.improvement()
    assert improvement["rod"] > 10
    assert improvement["adaptive"] > improvement["rod"] / 2


def two_cosines(w):
    return jnp.sum(jnp.array([1.0, 2.0]) * jnp.cos(w))


@pytest.mark.parametrize("flow", [StableFlow(), RodFlow()], ids=["stable", "rod"])
def test_gradients_with_respect_to_hyperparameters(flow):
    """Reverse mode through the solve, under vmap, against finite differences."""

    def final_loss(learning_rate, momentum):
        iteration = Iteration(two_cosines, optax.sgd(learning_rate, momentum=momentum))
        y = flow.init(iteration, iteration.init(jnp.ones(2)))
        return flow.predicted_loss(iteration, solve(flow, iteration, y, 5.0, max_steps=16))

    eps = 1e-5
    rates = 0.05 + eps * jnp.array([0.0, 1.0, -1.0])
    lanes = jax.jit(jax.vmap(jax.value_and_grad(final_loss), (0, None)))
    losses, slopes = lanes(rates, 0.9)
    np.testing.assert_allclose(slopes[0], (losses[1] - losses[2]) / (2 * eps), rtol=1e-6)
    assert abs(slopes[0]) > 0.1


def test_the_seed_may_be_traced(params, network_loss):
    iteration = Iteration(network_loss, optax.sgd(0.1))
    state = iteration.init(params)

    def field(seed):
        flow = RodFlow(SignedRod(seed=seed, lookahead=0))
        return flow.increment(iteration, flow.init(iteration, state)).x.params["out"]

    seeds = jnp.array([0.0, 1e-3, 1.0])
    expected = seeds[:, None] * iteration.increment(state).params["out"]
    np.testing.assert_allclose(jax.jit(jax.vmap(field))(seeds), expected, rtol=1e-12)
