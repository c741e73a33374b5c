import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close, assert_trees_all_equal
from scipy.linalg import solve_discrete_lyapunov

import rodflow
from rodflow import MinibatchIteration, MultistepLookback, RodFlow, SignedRod, StochasticRod

KEY = jax.random.key(7)


def quadratic(w, batch):
    return jnp.mean((batch @ w - 1.0) ** 2) / 2


def network(w, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ w["hidden"]) @ w["out"] - y) ** 2) / 2


def data(samples=12):
    x, y = np.random.default_rng(0).normal(size=(2, samples, 3))
    return jnp.asarray(x), jnp.asarray(y[:, 0])


def weights():
    a, b = np.random.default_rng(1).normal(size=(2, 3, 4))
    return {"hidden": jnp.asarray(a), "out": jnp.asarray(b[0])}


def solve(term, y0, solver, steps, ts=None):
    dt = 1 / solver.substeps
    saveat = diffrax.SaveAt(t1=True) if ts is None else diffrax.SaveAt(ts=ts)
    ys = diffrax.diffeqsolve(term, solver, 0.0, float(steps), dt, y0, saveat=saveat).ys
    return jax.tree.map(lambda y: y[-1], ys) if ts is None else ys


CHAINS = {"nesterov": optax.sgd(0.05, momentum=0.9, nesterov=True), "adam": optax.adam(0.01)}


@pytest.mark.parametrize(("name", "full_drift"), [("nesterov", True), ("adam", False)])
def test_without_noise_it_is_the_rod_flow(x64, name, full_drift):
    """Batches as large as the data, the same solver, and the rod's own start and seed."""
    iteration = MinibatchIteration(network, data(), 12, CHAINS[name])
    whole = rodflow.Iteration(lambda w: network(w, data()), CHAINS[name])
    flow = StochasticRod(SignedRod(), full_drift=full_drift)
    state, solver = iteration.init(weights()), MultistepLookback()
    y0 = flow.init(iteration, state)
    assert_trees_all_close(y0, RodFlow().init(whole, state), atol=1e-15)
    solved = eqx.filter_jit(lambda term: solve(term, y0, solver, 20))
    found, expected = solved(flow.term(iteration, KEY)), solved(RodFlow().term(whole))
    assert_trees_all_close(found, expected, rtol=1e-9, atol=1e-14)
    assert_trees_all_close(
        flow.predicted_loss(iteration, found), RodFlow().predicted_loss(whole, expected)
    )
    assert_trees_all_close(flow.extent(found), RodFlow().extent(expected), atol=1e-14)
    assert flow.center(found) is found.c.params and flow.phase(found) is found.c


def test_a_key_gives_the_same_path_alone_and_among_others():
    iteration = MinibatchIteration(quadratic, data()[0], 4, optax.adam(0.01))
    flow = StochasticRod(full_drift=False)
    y0 = flow.init(iteration, iteration.init(jnp.zeros(3)))

    @jax.jit
    def end(key):
        return solve(flow.term(iteration, key), y0, MultistepLookback(), 5)

    keys = jax.random.split(KEY, 3)
    ends = jax.jit(jax.vmap(end))(keys)
    assert_trees_all_equal(end(keys[0]), end(keys[0]))
    for place in range(3):
        one = jax.tree.map(lambda leaf, place=place: leaf[place], ends)
        assert_trees_all_close(one, end(keys[place]), rtol=1e-4, atol=1e-5)
    assert np.all(np.std(ends.c.params, axis=0) > 1e-4)


def moments(samples):
    """Return the covariance of samples, flattened."""
    flat = jax.vmap(lambda s: jax.flatten_util.ravel_pytree(s)[0])(samples)
    flat = np.asarray(flat, float)
    return flat.mean(axis=0), np.cov(flat.T)


def covariance_of_a_step(iteration, state):
    """The exact covariance of the increment over all batches of two of four samples."""
    sets = [(i, j) for i in range(4) for j in range(i)]
    x = iteration.batch_loss.data
    batches = [rodflow.maps.Batch(x[jnp.array(s)], KEY) for s in sets]
    values = np.stack([np.asarray(iteration.increment_on(state, b).params) for b in batches])
    return np.cov(values.T, bias=True)


@pytest.mark.parametrize(("full_drift", "batches"), [(True, 2), (False, 2), (False, 4)])
def test_samples_have_the_mean_covariance_of_both_ends(x64, full_drift, batches):
    """Each end has the noise of its own place; the drift has C / (2 M), uncorrelated to it."""
    x = jnp.asarray(np.random.default_rng(3).normal(size=(4, 2)))
    iteration = MinibatchIteration(quadratic, x, 2, optax.sgd(0.5))
    flow = StochasticRod(full_drift=full_drift, batches=batches)
    state = iteration.init(jnp.array([0.3, -0.2]))
    y = flow.init(iteration, state)
    y = y._replace(x=y.x._replace(params=jnp.array([0.2, 0.4])))
    field = flow.term(iteration, KEY).field
    drift, noise = jax.jit(jax.vmap(lambda k: field.sample(y, k)))(jax.random.split(KEY, 10000))
    ends = [y.c._replace(params=y.c.params + s * y.x.params) for s in (1, -1)]
    plus, minus = (covariance_of_a_step(iteration, end) for end in ends)
    c, between = (plus + minus) / 2, (minus - plus) / 2
    both = np.block([[c, between], [between, c]])
    exact = np.kron(np.diag([1.0, field.drift_noise]), both)
    assert field.drift_noise == (0 if full_drift else 1 / (2 * batches))
    mean, found = moments((noise.c.params, noise.x.params, drift.c.params, drift.x.params))
    np.testing.assert_allclose(found, exact, atol=0.05 * np.max(c))
    whole = RodFlow(SignedRod(seed=0.0)).increment(iteration, y)
    error = 5 * np.sqrt(np.max(c) / 10000)
    np.testing.assert_allclose(mean[4:6], whole.c.params, atol=error)
    np.testing.assert_allclose(mean[6:], whole.x.params, atol=error)


def test_second_moments_get_the_noise_of_the_gradient(x64):
    """E g_b^2 = g^2 + C, by the mean over batches, and no noise of their own."""
    x = jnp.asarray(np.random.default_rng(3).normal(size=(4, 2)))
    iteration = MinibatchIteration(quadratic, x, 2, optax.rmsprop(0.1, decay=0.9))
    flow = StochasticRod()
    y = flow.init(iteration, iteration.init(jnp.array([0.3, -0.2])))
    field = flow.term(iteration, KEY).field
    drift, noise = jax.jit(jax.vmap(lambda k: field.sample(y, k)))(jax.random.split(KEY, 2000))
    assert noise.c.opt_state[0].nu is None and y.x.opt_state[0].nu is None
    descent = MinibatchIteration(quadratic, x, 2, optax.sgd(1.0))
    state = descent.init(y.c.params)
    g = np.asarray(descent.increment(state).params)
    expected = 0.1 * (g**2 + np.diag(covariance_of_a_step(descent, state)))
    found = np.mean(drift.c.opt_state[0].nu, axis=0)
    np.testing.assert_allclose(found, expected, rtol=0.05)


def frozen_adam(lr, b1, preconditioner):
    """Adam with its preconditioner as it stands."""
    return optax.chain(
        optax.trace(b1),
        optax.stateless(
            lambda u, p: jax.tree.map(lambda u: -lr * (1 - b1) * u / preconditioner, u)
        ),
    )


@pytest.mark.parametrize("substeps", [1, 2])
def test_an_ensemble_has_the_law_of_the_iterates(substeps):
    """Adam with a frozen preconditioner, by batches only, from the discrete Lyapunov equation."""
    hessian, scale = np.diag([1.0, 4.0]) + 0.3, np.array([1.0, 2.0])
    b1, lr = 0.5, 1.2

    def loss(w, batch):
        return w @ hessian @ w / 2 + jnp.mean(batch, axis=0) @ w

    def draw(key):
        return jax.random.normal(key, (1, 2))

    iteration = MinibatchIteration(loss, draw, None, frozen_adam(lr, b1, scale))
    flow, solver = StochasticRod(full_drift=False), MultistepLookback(substeps)
    y0 = flow.init(iteration, iteration.init(jnp.zeros(2)))
    lanes, ts = 2000, jnp.arange(60.0, 64.0)

    def at(key):
        y = solve(flow.term(iteration, key), y0, solver, 64, ts)
        return y.c.params, y.x.params

    c, x = jax.jit(jax.vmap(at))(jax.random.split(KEY, lanes))
    sign = (-1.0) ** np.asarray(ts)[:, None]
    z = np.asarray(c + sign * x, float).reshape(-1, 2)
    step = np.block(
        [
            [
                np.eye(2) - lr * (1 - b1) * hessian / scale[:, None],
                -lr * (1 - b1) * b1 * np.diag(1 / scale),
            ],
            [hessian, b1 * np.eye(2)],
        ]
    )
    kick = np.vstack([-lr * (1 - b1) * np.diag(1 / scale), np.eye(2)])
    exact = solve_discrete_lyapunov(step, kick @ kick.T)[:2, :2]
    np.testing.assert_allclose(np.cov(z.T), exact, atol=0.06 * np.max(exact))


@pytest.mark.parametrize("a", [0.5, 1.5])
def test_the_usual_equation_fails_by_the_factor_two_over_two_minus_a(a):
    """C / (2 a), not C / (a (2 - a)), is what Euler's C / (a (2 - a h)) comes to as h does to 0."""

    def loss(w, batch):
        return w**2 / 2 - jnp.sum(batch) * w

    def draw(key):
        return jax.random.normal(key, (1,))

    iteration = MinibatchIteration(loss, draw, None, optax.sgd(a))
    flow = StochasticRod(rod=False, full_drift=False, batches=8)
    y0 = flow.init(iteration, iteration.init(jnp.array(0.0)))
    h = float(flow.integrator.dt0)

    def at(key):
        term = flow.term(iteration, key)
        ys = diffrax.diffeqsolve(term, diffrax.Euler(), 0.0, 16.0, h, y0).ys
        return ys.c.params[-1]

    found = jnp.var(jax.jit(jax.vmap(at))(jax.random.split(KEY, 10000)))
    np.testing.assert_allclose(found, a**2 / (a * (2 - a * h)), rtol=0.06)
    assert flow.extent(y0) == 0.0 and not jax.tree.leaves(y0.x)


def test_the_look_back_of_the_usual_equation_leaves_second_moments_alone(x64):
    iteration = MinibatchIteration(network, data(), 12, optax.adam(0.1))
    flow = StochasticRod(rod=False, look_back=True)
    z = iteration.init(weights())
    y = flow.init(iteration, z)
    drift, noise = flow.term(iteration, KEY).field.sample(y, KEY)
    first = iteration.increment(z)
    earlier = jax.tree.map(lambda a, v: a - v / 2, z, first)
    adam = earlier.opt_state[0]._replace(nu=z.opt_state[0].nu, count=z.opt_state[0].count)
    earlier = earlier._replace(opt_state=(adam, *earlier.opt_state[1:]))
    assert_trees_all_close(drift.c, iteration.increment(earlier), rtol=1e-12)
    assert noise.c.opt_state[0].nu["out"] is None


@pytest.mark.slow
@pytest.mark.parametrize(("full_drift", "error"), [(True, 0.02), (False, 0.06)])
def test_weak_agreement_of_a_nonlinear_valley(full_drift, error):
    """L = S w^2/2 - Q w^4/4 near the edge with noise: second and fourth moments of 10^5 lanes."""
    sharp, bend, lanes, steps = 1.9, 1.0, 100_000, 60

    def loss(w, batch):
        return sharp * w**2 / 2 - bend * w**4 / 4 + jnp.mean(batch) * w

    noise = jnp.array([-0.1, 0.1])  # a batch is one of the two
    iteration = MinibatchIteration(loss, noise, 1, optax.sgd(1.0))
    state = iteration.init(jnp.array(0.05))

    def iterates(key):
        def step(z, t):
            return iteration.advance_on(z, iteration.batch(key, t))[1], None

        return jax.lax.scan(step, state, jnp.arange(steps))[0].params

    w = jax.jit(jax.vmap(iterates))(jax.random.split(jax.random.key(1), lanes))
    flow = StochasticRod(full_drift=full_drift)
    y0 = flow.init(iteration, state)

    def end(key):
        y = solve(flow.term(iteration, key), y0, MultistepLookback(), steps)
        return y.c.params + y.x.params

    z = jax.jit(jax.vmap(end))(jax.random.split(KEY, lanes))
    # Without the quartic term the mean square would be two thirds larger.
    assert jnp.mean(w**2) < 0.6 * noise[1] ** 2 / (sharp * (2 - sharp))
    np.testing.assert_allclose(jnp.mean(z**2), jnp.mean(w**2), rtol=error)
    np.testing.assert_allclose(jnp.mean(z**4), jnp.mean(w**4), rtol=0.08)


def test_costs_are_counted():
    assert StochasticRod().gradients == (2, 4)
    assert StochasticRod(full_drift=False).gradients == (0, 4)  # 8 in two substeps
    assert StochasticRod(rod=False, look_back=True).gradients == (2, 2)
    assert StochasticRod(rod=False, full_drift=False).gradients == (0, 2)
    assert StochasticRod().integrator.dt0 == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StochasticRod(batches=3), "`batches` is 3; it must be even"),
        (lambda: StochasticRod(batches=0), "`batches` is 0; it must be at least 2"),
        (lambda: StochasticRod(look_back=True), "`look_back` is True with a rod"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
