"""The filters of chains, by the edge that they give, against the optimizer's own steps.

The step of the optimizer is a matrix, from updates that it really makes. The edge is where the
spectral radius of that matrix passes 1.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import rodflow
from tests.chains import PARTS, RATE, START, average, averages, hessian, quasi_hyperbolic

LARS = optax.scale(-RATE), optax.trace(0.8)
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
    "novograd": optax.novograd(RATE),
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


def held_and_moving(tx, params):
    """Return pytrees of the state: True for what a first gradient moves as its mirror image."""
    state, grads = tx.init(params), jax.tree.map(lambda w: 0.1 + w**2, params)
    minus = jax.tree.map(jnp.negative, grads)
    zeros = jax.tree.map(jnp.zeros_like, params)
    plus, minus = (tx.update(g, state, zeros)[1] for g in (grads, minus))
    return jax.tree.map(
        lambda a, b, start: bool(jnp.any(a != start) & jnp.all(a == -b)), plus, minus, state
    )


def linear_step(tx, params, opt_state):
    """Return the matrices of steps of the optimizer itself, by what oscillates and by gradients.

    Its update runs with tiny momenta, parameters and gradients, of which second moments and clocks
    feel nothing; those begin where a step without gradient leaves them as they are at present.
    """
    moving = held_and_moving(tx, params)
    zeros = jax.tree.map(jnp.zeros_like, params)
    present = jax.tree.map(lambda x, m: x * 0 if m else x, opt_state, moving)
    before = present
    for _ in range(200):
        after = tx.update(zeros, before, zeros)[1]
        before = jax.tree.map(lambda b, p, a: b + (p - a), before, present, after)
    picked = [i for i, m in enumerate(jax.tree.leaves(moving)) if m]
    leaves, structure = jax.tree.flatten(before)
    flat, unravel = ravel_pytree((zeros, [leaves[i] for i in picked]))
    size, tiny = ravel_pytree(zeros)[0].size, 1e-12

    @jax.vmap
    def steps(z, g):
        params, memory = unravel(tiny * z)
        start = list(leaves)
        for i, leaf in zip(picked, memory, strict=True):
            start[i] = leaf
        grads = ravel_pytree(zeros)[1](tiny * g)
        updates, after = tx.update(grads, structure.unflatten(start), params)
        after = jax.tree.leaves(after)
        moved = (optax.apply_updates(params, updates), [after[i] for i in picked])
        return ravel_pytree(moved)[0] / tiny

    both = np.eye(flat.size + size)
    columns = np.asarray(steps(both[:, : flat.size], both[:, flat.size :])).T
    return columns[:, : flat.size], columns[:, flat.size :], np.eye(size, flat.size)


def as_optax(memory, like):
    """Return a memory with the counters of Optax."""
    leaves = zip(jax.tree.leaves(memory), jax.tree.leaves(like), strict=True)
    return jax.tree.structure(like).unflatten(jnp.asarray(x).astype(y.dtype) for x, y in leaves)


def with_norms_held(name, tx, grads, params, opt_state):
    """Return the chain with its ratio of norms, if it has one, as a number computed by hand."""
    if name == "clipped":
        scale = 0.5 / np.linalg.norm(ravel_pytree(grads)[0])
        return optax.chain(optax.scale(scale), optax.sgd(RATE, momentum=0.5))
    if name == "lars":
        ratios = jax.tree.map(
            lambda w, g: 0.001 * np.linalg.norm(w) / np.linalg.norm(g), params, grads
        )
        scaled = optax.stateless(lambda g, _: jax.tree.map(jnp.multiply, g, ratios))
        plain = optax.masked(optax.identity(), True)
        return optax.chain(plain, optax.masked(scaled, True), *LARS)
    if name == "lamb":
        adam = opt_state[0]
        count = adam.count
        moments = [
            jax.tree.map(lambda m, g: (0.9 * m + 0.1 * g) / (1 - 0.9**count), adam.mu, grads),
            jax.tree.map(lambda v: jnp.sqrt(v / (1 - 0.999**count)) + 1e-6, adam.nu),
        ]
        updates = jax.tree.map(jnp.divide, *moments)
        ratios = jax.tree.map(lambda w, u: np.linalg.norm(w) / np.linalg.norm(u), params, updates)
        scaled = optax.stateless(lambda g, _: jax.tree.map(jnp.multiply, g, ratios))
        return optax.chain(
            optax.scale_by_adam(eps=1e-6), optax.identity(), scaled, optax.scale(-RATE)
        )
    return tx


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


# One of each kind, as each takes seconds to compile; all others are slow.
FAST = ("trace", "adamw, masked", "lamb", "averages with decay", "quasi-hyperbolic", "partition")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CHAINS],
)
def test_the_edge_is_where_the_spectral_radius_of_the_chain_passes_one(name, x64):
    tx, matrix = CHAINS[name], hessian()

    def loss(params):
        w = ravel_pytree(params)[0]
        return w @ matrix @ w / 2

    _, state = after_steps(loss, tx)
    edge = rodflow.edge(loss, tx, state)
    opt_state = as_optax(state.opt_state, tx.init(state.params))
    plain = with_norms_held(name, tx, jax.grad(loss)(state.params), state.params, opt_state)
    factor, period = bisected(linear_step(plain, state.params, opt_state), matrix)
    assert edge.period == pytest.approx(period, rel=1e-5)
    np.testing.assert_allclose(edge.sharpness[0] * factor, 1, rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "averages with decay",
        pytest.param("averages", marks=pytest.mark.slow),
        pytest.param("adamw", marks=pytest.mark.slow),
    ],
)
def test_the_scale_brings_the_chain_to_the_edge(name, x64):
    """With its whole update multiplied by it, the effective sharpness is 1."""
    tx, matrix = CHAINS[name], hessian()
    loss = lambda p: ravel_pytree(p)[0] @ matrix @ ravel_pytree(p)[0] / 2  # noqa: E731
    _, state = after_steps(loss, tx)
    scale = rodflow.edge(loss, tx, state).scale
    scaled = optax.chain(tx, optax.scale(scale))
    memory = (state.opt_state, optax.ScaleState())
    edge = rodflow.edge(loss, scaled, (state.params, memory))
    np.testing.assert_allclose(edge.sharpness[0], 1, rtol=1e-8)


def test_decays_that_differ_much_have_no_scale(x64):
    matrix = hessian()
    loss = lambda p: ravel_pytree(p)[0] @ matrix @ ravel_pytree(p)[0] / 2  # noqa: E731
    for tx, known in (
        (CHAINS["adamw, masked"], False),
        (optax.adamw(RATE, weight_decay=1e-3, mask={"a": True, "b": False}), True),
    ):
        _, state = after_steps(loss, tx)
        found = rodflow.edge(loss, tx, state)
        assert np.isfinite(found.sharpness[0])
        if known:
            np.testing.assert_allclose(found.scale, 1 / found.sharpness[0], rtol=2e-3)
        assert np.isfinite(found.scale) == known


@pytest.mark.parametrize(
    "tx",
    [
        pytest.param(optax.rprop(0.01), id="rprop"),
        pytest.param(
            optax.chain(*(average(0.1 * i) for i in range(1, 10)), optax.scale(-0.1)),
            id="nine averages",
            marks=pytest.mark.slow,
        ),
        pytest.param(optax.contrib.dog(), id="dog", marks=pytest.mark.slow),
        pytest.param(
            optax.rmsprop(0.01, centered=True), id="centred rmsprop", marks=pytest.mark.slow
        ),
    ],
)
def test_what_is_not_linear_or_has_too_much_memory_is_not_a_number(tx, x64):
    matrix = hessian()
    loss = lambda p: ravel_pytree(p)[0] @ matrix @ ravel_pytree(p)[0] / 2  # noqa: E731
    _, state = after_steps(loss, tx)
    assert np.isnan(rodflow.edge(loss, tx, state).sharpness[0])
