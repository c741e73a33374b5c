"""The edge of chains, against the spectral radius of the optimizer's own steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow

RATE = 0.01
START = {"a": np.array([1.0, 0.5, -0.3]), "b": np.array([[0.7, -1.2]])}


def average(decay):
    return optax.ema(decay, debias=False)


def averages(*decays, rate=1.0):
    return optax.chain(*map(average, decays), optax.scale(-rate))


def quasi_hyperbolic(decay, share, rate=1.0):
    """A mean of the gradient and of its average (Ma & Yarats 2019, arXiv 1810.06801)."""
    inner = average(decay)

    def update(grads, state, params=None):
        del params
        means, state = inner.update(grads, state)
        return jax.tree.map(lambda m, g: share * m + (1 - share) * g, means, grads), state

    return optax.chain(optax.GradientTransformation(inner.init, update), optax.scale(-rate))


def one_mode(tx, curvature=1.0, params=1.0):
    loss = lambda w: curvature * jnp.sum(w**2) / 2  # noqa: E731
    params = jnp.asarray(params)
    return rodflow.edge(loss, tx, (params, tx.init(params)))


# Lee & Lee 2026, arXiv 2608.18415: critical curvature at rate 1, and frequency over pi.
PUBLISHED = {
    "averages .4 .7": (averages(0.4, 0.7), 2.5714, 0.263),
    "averages .7 .85": (averages(0.7, 0.85), 0.6807, 0.088),
    "quasi-hyperbolic": (quasi_hyperbolic(0.9, 0.7), 5.9375, 1.0),
    "heavy ball": (rodflow.heavy_ball(1.0, b1=0.9), 38.0, 1.0),
    "nesterov, as in nadam": (rodflow.nesterov(1.0, b1=0.9), 13.571, 1.0),
    "nesterov trace": (optax.sgd(1.0, momentum=0.9, nesterov=True), 1.3571, 1.0),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_edges(name, x64):
    tx, curvature, frequency = PUBLISHED[name]
    edge = one_mode(tx)
    assert 1 / edge.sharpness[0] == pytest.approx(curvature, rel=3e-5)
    assert edge.scale == pytest.approx(curvature, rel=3e-5)
    assert 2 / edge.period == pytest.approx(frequency, abs=5e-4)


def masked(decay, mask):
    return optax.masked(optax.add_decayed_weights(decay), mask)


PARTS = {"a": "fast", "b": "slow"}
# Chains that are linear but for what is held, by name.
CHAINS = {
    "sgd": optax.sgd(RATE),
    "trace": optax.sgd(RATE, momentum=0.9),
    "nesterov trace": optax.sgd(RATE, momentum=0.95, nesterov=True),
    "heavy ball": rodflow.heavy_ball(RATE, b1=0.8),
    "nesterov": rodflow.nesterov(RATE, b1=0.8),
    "rmsprop": optax.rmsprop(RATE, decay=0.95),
    "rmsprop with momentum": optax.rmsprop(RATE, momentum=0.9),
    "rmsprop with nesterov": optax.rmsprop(RATE, momentum=0.9, nesterov=True),
    "centred rmsprop": optax.rmsprop(RATE, centered=True),
    "adam": optax.adam(RATE, b2=0.99),
    "nadam": optax.nadam(RATE, b2=0.99),
    "adamw": optax.adamw(RATE, weight_decay=0.3),
    "nadamw": optax.nadamw(RATE, weight_decay=0.3),
    "adamw, masked": optax.adamw(RATE, weight_decay=0.3, mask={"a": True, "b": False}),
    "adam with L2": optax.chain(optax.add_decayed_weights(0.2), optax.adam(RATE)),
    "sgd with L2 and momentum": optax.chain(
        optax.add_decayed_weights(0.2), optax.sgd(RATE, momentum=0.9)
    ),
    "amsgrad": optax.amsgrad(RATE),
    "adabelief": optax.adabelief(RATE, b2=0.99),
    "yogi": optax.yogi(RATE),
    "radam": optax.radam(RATE),
    "adan": optax.adan(RATE),
    "adagrad": optax.adagrad(RATE),
    "adadelta": optax.adadelta(RATE),
    "lars": optax.lars(RATE, momentum=0.8),
    "lamb": optax.lamb(RATE),
    "ademamix": optax.contrib.ademamix(RATE, b3=0.99),
    "clipped": optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(RATE, momentum=0.5)),
    "schedule": optax.adam(optax.cosine_decay_schedule(RATE, 100)),
    "averages": averages(0.6, 0.8, rate=RATE),
    "three averages": averages(0.5, 0.7, 0.9, rate=RATE),
    "slow averages": averages(0.9, 0.99, rate=RATE),
    "averages of adam": optax.chain(average(0.8), optax.adam(RATE, b1=0.9)),
    "averages with decay": optax.chain(
        average(0.6), average(0.8), optax.add_decayed_weights(2.0), optax.scale(-RATE)
    ),
    "quasi-hyperbolic": quasi_hyperbolic(0.95, 0.8, RATE),
    "quasi-hyperbolic, turning": quasi_hyperbolic(0.99, 0.99, RATE),
    "two averages and a step": optax.chain(
        quasi_hyperbolic(0.9, 0.9), average(0.7), optax.scale(-RATE)
    ),
    "partition": optax.partition(
        {"fast": optax.sgd(RATE, momentum=0.5), "slow": optax.adam(RATE)}, PARTS
    ),
    "frozen": optax.partition(
        {"fast": rodflow.heavy_ball(RATE, b1=0.9), "slow": optax.set_to_zero()}, PARTS
    ),
}


def after_steps(loss, tx, steps=20):
    iteration = rodflow.Iteration(loss, tx)
    state = iteration.init(jax.tree.map(jnp.asarray, START))
    return iteration, jax.jit(
        lambda z: jax.lax.fori_loop(0, steps, lambda _, z: iteration.step(z), z)
    )(state)


def hessian(seed=0, size=5):
    root = np.random.default_rng(seed).normal(size=(size, size))
    return root @ root.T / size + 0.3 * np.eye(size)


def linear_step(iteration, state):
    """Return the dense matrices of the chain's step: by what oscillates, and by the gradient.

    They are derivatives of the update as Optax computes it, with norms, second moments and clocks
    held.
    """

    @jax.jit
    def matrices(state):
        settling = rodflow.curvature.Settling.at_present(iteration, state).remembering()
        zeros, linear = settling.linearized()
        flat, unravel = ravel_pytree(zeros)
        grads, unravel_grads = ravel_pytree(zeros.params)

        def step(z, g):
            return z + ravel_pytree(linear(unravel(z), unravel_grads(g)))[0]

        picks = jax.jacobian(lambda z: ravel_pytree(unravel(z).params)[0])(flat)
        return *jax.jacobian(step, (0, 1))(flat, grads), picks

    return tuple(map(np.asarray, matrices(state)))


def bisected(matrices, hessian, low=1e-4, high=1e4):
    """Return the factor on the Hessian at which the spectral radius passes 1, and the period."""
    by_state, by_grads, picks = matrices

    def multipliers(factor):
        return np.linalg.eigvals(by_state + factor * by_grads @ hessian @ picks)

    def grows(factor):
        return np.max(np.abs(multipliers(factor))) > 1

    # The first factor of a fine grid, as stability may return.
    grid = np.geomspace(low, high, 400)
    first = next(i for i, factor in enumerate(grid) if grows(factor))
    low, high = grid[first - 1], grid[first]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if grows(middle) else (middle, high)
    mu = multipliers(high)
    leaving = mu[np.argmax(np.abs(mu))]
    return low, 2 * np.pi / np.abs(np.angle(leaving))


@pytest.mark.parametrize("name", CHAINS)
def test_the_edge_is_where_the_spectral_radius_of_the_chain_passes_one(name, x64):
    tx, matrix = CHAINS[name], hessian()

    def loss(params):
        w = ravel_pytree(params)[0]
        return w @ matrix @ w / 2

    iteration, state = after_steps(loss, tx)
    edge = rodflow.edge(loss, tx, state)
    factor, period = bisected(linear_step(iteration, state), matrix)
    assert edge.period == pytest.approx(period, rel=1e-5)
    np.testing.assert_allclose(edge.sharpness[0] * factor, 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["averages", "averages with decay", "adamw", "adamw, masked"])
def test_the_scale_brings_the_chain_to_the_edge(name, x64):
    """With its whole update multiplied by it, the effective sharpness is 1."""
    tx, matrix = CHAINS[name], hessian()
    loss = lambda p: ravel_pytree(p)[0] @ matrix @ ravel_pytree(p)[0] / 2  # noqa: E731
    _, state = after_steps(loss, tx)
    scale = rodflow.edge(loss, tx, state).scale
    scaled = optax.chain(tx, optax.scale(scale))
    memory = (state.opt_state, optax.ScaleState())
    edge = rodflow.edge(loss, scaled, (state.params, memory))
    # Decay that differs between parameters is taken along the mode as it is.
    rtol = 1e-3 if "masked" in name else 1e-8
    np.testing.assert_allclose(edge.sharpness[0], 1, rtol=rtol)


def test_filters_that_differ_and_rotate_have_no_edge_but_each_part_has(x64):
    rules = {"fast": averages(0.4, 0.7), "slow": optax.sgd(1.0)}
    tx, matrix = optax.partition(rules, PARTS), hessian()
    loss = lambda p: ravel_pytree(p)[0] @ matrix @ ravel_pytree(p)[0] / 2  # noqa: E731
    params = jax.tree.map(jnp.asarray, START)
    state = (params, tx.init(params))
    assert np.isnan(rodflow.edge(loss, tx, state).sharpness[0])
    parts = rodflow.edge(loss, tx, state, by="leaf")
    tops = [np.linalg.eigvalsh(block)[-1] for block in (matrix[:3, :3], matrix[3:, 3:])]
    assert parts["a"].sharpness[0] == pytest.approx(tops[0] / (18 / 7), rel=1e-9)
    assert parts["b"].sharpness[0] == pytest.approx(tops[1] / 2, rel=1e-9)
    assert parts["a"].period == pytest.approx(7.616, rel=1e-3)
    assert parts["b"].period == 2
    numbers = rodflow.effective_sharpness(loss, tx, state, by=lambda path: path[0].key)
    np.testing.assert_allclose(numbers["a"], parts["a"].sharpness, rtol=1e-9)


@pytest.mark.parametrize("tx", [optax.lion(0.1), optax.sgd(-0.1), averages(0.5, rate=-1.0)])
def test_what_has_no_edge_is_not_a_number(tx):
    edge = one_mode(tx, params=np.ones(3, np.float32))
    assert np.isnan(edge.sharpness[0])
    assert np.isnan(edge.scale)
    assert np.isnan(edge.period)


def test_a_learning_rate_in_the_state_is_brought_to_the_edge():
    edge = one_mode(optax.inject_hyperparams(optax.sgd)(0.25), curvature=6.0)
    np.testing.assert_allclose(edge.learning_rate, 2 / 6, rtol=1e-6)
    assert one_mode(optax.sgd(0.25)).learning_rate is None


def test_parts_are_refused_by_name():
    params = {"a": jnp.ones(3), "b": jnp.ones(1)}
    loss, tx = (lambda p: jnp.sum(p["a"] ** 2) + jnp.sum(p["b"] ** 2)), optax.sgd(0.1)
    state = (params, tx.init(params))
    with pytest.raises(ValueError, match="part 'b', 1"):
        rodflow.edge(loss, tx, state, k=2, by="leaf")
    with pytest.raises(ValueError, match="`by` is 3"):
        rodflow.effective_sharpness(loss, tx, state, by=3)


def network():
    """A regression with two hidden layers of tanh, and its parameters."""
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 10))
    y = np.sin(1.5 * x[:, :3].sum(1)) + x[:, 3] * x[:, 4]
    weights = [random.normal(size=(n, 12)) / n**0.5 for n in (10, 12)]
    params = [*map(jnp.asarray, weights), jnp.asarray(random.normal(size=12) / 12**0.5)]

    def loss(params):
        hidden = jnp.asarray(x)
        for weight in params[:-1]:
            hidden = jnp.tanh(hidden @ weight)
        return jnp.mean((hidden @ params[-1] - y) ** 2)

    return loss, params


def test_a_run_is_followed_from_the_last_vectors_with_an_honest_error(x64):
    """Adam in its first hundreds of steps, against dense eigenvalues."""
    loss, params = network()
    tx = optax.adam(0.01)
    state = (params, tx.init(params))
    size = sum(leaf.size for leaf in params)

    @jax.jit
    def run(state):
        def step(state, _):
            params, memory = state
            updates, memory = tx.update(jax.grad(loss)(params), memory, params)
            return (optax.apply_updates(params, updates), memory), None

        return jax.lax.scan(step, state, length=10)[0]

    @jax.jit
    def dense(state):
        iteration = rodflow.Iteration(loss, tx)
        flat, unravel = ravel_pytree(state[0])
        root = jnp.sqrt(ravel_pytree(rodflow.nyquist_response(iteration, state))[0])
        hessian = jax.hessian(lambda w: loss(unravel(w)))(flat)
        return jnp.linalg.eigvalsh(root[:, None] * hessian * root)[-1] / 2

    edge = None
    for call in range(20):
        state = run(state)
        edge = rodflow.edge(loss, tx, state, start=edge)
        exact = float(dense(state))
        off = abs(float(edge.sharpness[0]) - exact)
        assert off <= (1e-6 if call == 0 else 0.03) * exact
        assert off <= 3 * float(edge.error[0]) + 1e-9
    assert jax.tree.leaves(edge.vectors)[0].shape[0] == 2
    assert size > 200
