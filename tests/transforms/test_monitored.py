"""Readings beside any optimizer, which it does not feel."""

import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import rodflow

CURVATURES = {"w": jnp.array([3.0, 1.0, 0.5]), "b": jnp.float32(2.0)}
START = {"w": jnp.ones(3), "b": jnp.float32(-1.0)}
CHAINS = {
    "adamw": lambda: optax.adamw(0.1),
    "nesterov": lambda: optax.sgd(0.05, momentum=0.9, nesterov=True),
    "clipped": lambda: optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.1)),
    "lion": lambda: optax.lion(0.1),
    "injected": lambda: optax.inject_hyperparams(optax.sgd)(learning_rate=0.3),
    "polyak": lambda: optax.polyak_sgd(0.3),
    "line search": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=4)
    ),
}
EVERYTHING = {"every": 2, "sharpness_every": 3, "by": "leaf"}
READINGS = ("realized_edge", "directional_sharpness")


def loss(params):
    parts = jax.tree.map(lambda c, p: jnp.sum(c * p**2 + p**4 / 8), CURVATURES, params)
    return sum(jax.tree.leaves(parts)).astype(jnp.float32)


def trained(tx, steps, params=START, **given):
    """Return what each step leaves behind: updates, state and parameters."""
    if not isinstance(tx, optax.MultiSteps):
        tx = optax.with_extra_args_support(tx)

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        extra = {"value": value, "grad": grads, "value_fn": loss} | given
        updates, state = tx.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state, updates

    state, seen = tx.init(params), []
    for _ in range(steps):
        params, state, updates = step(params, state)
        seen.append((updates, state, params))
    return seen


@pytest.mark.parametrize("name", CHAINS)
def test_updates_are_those_of_the_optimizer_bit_by_bit(name):
    inner = CHAINS[name]()
    # A line search has no effective sharpness, which a model refuses to read.
    arguments = {"every": 2} if name == "line search" else EVERYTHING
    watched = rodflow.monitored(inner, **arguments)
    gradient = jax.jit(jax.value_and_grad(loss))

    def updated(tx):
        given = optax.with_extra_args_support(tx)

        @jax.jit
        def update(grads, state, params, value):
            extra = {"value": value, "grad": grads, "value_fn": loss}
            return given.update(grads, state, params, **extra)

        return update

    plain, same = updated(inner), updated(watched)
    params, state, monitored = START, inner.init(START), watched.init(START)
    for _ in range(7):
        value, grads = gradient(params)
        updates, state = plain(grads, state, params, value)
        others, monitored = same(grads, monitored, params, value)
        chex.assert_trees_all_equal(others, updates)
        chex.assert_trees_all_equal(monitored.inner_state, state)
        params = optax.apply_updates(params, updates)
    assert name == "line search" or same._cache_size() == 1


def test_readings_are_those_of_the_pure_functions_when_they_are_due():
    tx = optax.adam(0.1)
    before = START
    for t, (updates, state, params) in enumerate(
        trained(rodflow.monitored(tx, **EVERYTHING), 6), 1
    ):
        grads = jax.grad(loss)(before)
        zeta = rodflow.realized_edge(loss(before), loss(params), grads, updates)
        np.testing.assert_allclose(optax.tree.get(state, "realized_edge"), zeta, rtol=2e-3)
        if t % 2 == 0:
            found = optax.tree.get(state, "directional_sharpness")
            exact = rodflow.directional_sharpness(loss, before, grads, updates)
            np.testing.assert_allclose(found, exact, rtol=1e-4)
        if t % 3 == 0:
            found = optax.tree.get(state, "effective_sharpness")
            exact = rodflow.effective_sharpness(loss, tx, (before, state.inner_state))[0]
            np.testing.assert_allclose(found, exact, rtol=1e-3)
            parts = optax.tree.get(state, "effective_sharpness_by")
            exact = rodflow.edge(loss, tx, (before, state.inner_state), by="leaf")
            assert list(parts) == ["b", "w"]
            for name, part in parts.items():
                np.testing.assert_allclose(part, exact[name].sharpness[0], rtol=1e-3)
        before = params
    assert t == 6


def test_the_fluctuation_is_divided_among_the_parts():
    def noisy_step(carry, key):
        params, state = carry
        noise = dict(zip(params, jax.random.normal(key, (2,)), strict=True))
        grads = jax.tree.map(lambda c, p, n: c * p + n, CURVATURES, params, noise)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    tx = rodflow.monitored(optax.sgd(0.5), by=lambda path: path[0].key.upper())
    keys = jax.random.split(jax.random.key(0), 200)
    _, state = jax.jit(lambda: jax.lax.scan(noisy_step, (START, tx.init(START)), keys)[0])()
    parts = optax.tree.get(state, "fluctuation_by")
    assert list(parts) == ["B", "W"] and parts["W"] > parts["B"] > 0
    np.testing.assert_allclose(sum(parts.values()), state.fluctuation, rtol=1e-5)
    assert state.effective_sharpness_by is None


def test_runs_under_vmap_read_as_each_alone():
    tx = rodflow.monitored(optax.adam(0.1), every=1, vectors=0)

    def run(params):
        state = tx.init(params)
        for _ in range(2):
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = tx.update(grads, state, params, value=value, value_fn=loss)
            params = optax.apply_updates(params, updates)
        return {name: getattr(state, name) for name in READINGS}

    both = START, jax.tree.map(lambda p: 2 * p, START)
    found = jax.jit(jax.vmap(run))(jax.tree.map(lambda *p: jnp.stack(p), *both))
    alone = [jax.jit(run)(params) for params in both]
    chex.assert_trees_all_close(found, jax.tree.map(lambda *x: jnp.stack(x), *alone), rtol=2e-3)
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(found))


@pytest.mark.parametrize(("arguments", "decay"), [({}, 0.9), ({"decay": 0.5}, 0.5)])
def test_a_mean_forgets_at_each_reading(arguments, decay):
    seen = [state for _, state, _ in trained(rodflow.monitored(optax.sgd(0.2), **arguments), 4)]
    mean = float(seen[0].realized_edge)
    for state in seen[1:]:
        mean = decay * mean + (1 - decay) * float(state.realized_edge)
        np.testing.assert_allclose(state.mean_realized_edge, mean, rtol=1e-6)


def test_on_the_same_batch_the_next_loss_gives_the_realized_edge():
    forward = trained(rodflow.monitored(optax.sgd(0.2)), 4)
    lagged = trained(rodflow.monitored(optax.sgd(0.2), same_batch=True), 5, value_fn=None)
    for (_, state, _), (_, later, _) in zip(forward, lagged[1:], strict=True):
        np.testing.assert_allclose(later.realized_edge, state.realized_edge, rtol=1e-4)
    assert np.isnan(lagged[0][1].realized_edge)


def test_bf16_parameters_have_readings_in_single_precision():
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), START)
    (updates, state, _) = trained(rodflow.monitored(optax.sgd(0.25), **EVERYTHING), 6, params)[-1]
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype("bfloat16")}
    for name in ("realized_edge", "directional_sharpness", "effective_sharpness"):
        reading = optax.tree.get(state, name)
        assert reading.dtype == jnp.float32 and np.isfinite(reading), name


def noisy(tx, curvature, steps=4000):
    """Train one mode with noise in its gradients; return the last state."""
    noise = jax.random.normal(jax.random.key(0), (steps, 1))

    def step(carry, n):
        w, state = carry
        updates, state = tx.update(curvature * w + n, state, w)
        return (w + updates, state), None

    start = jnp.zeros(1), tx.init(jnp.zeros(1))
    return jax.jit(lambda: jax.lax.scan(step, start, noise)[0][1])()


@pytest.mark.parametrize("inner", [optax.sgd(0.5), rodflow.nesterov(0.5), optax.rmsprop(0.05)])
def test_the_fluctuation_meter_knows_the_response_of_the_chain(inner):
    curvature = jnp.array(2.0)
    state = noisy(rodflow.monitored(inner, vectors=1), curvature)
    iteration = rodflow.Iteration(lambda w: jnp.sum(w**2), inner)
    at = iteration.check((jnp.zeros(1), state.inner_state))
    response = rodflow.curvature.linear_response(iteration, at)
    np.testing.assert_allclose(state.mean_fluctuation, (curvature * response / 2)[0], atol=0.15)


def test_a_chain_without_linear_response_has_no_fluctuation_reading():
    tx = rodflow.monitored(optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation())
    assert np.isnan(trained(tx, 21)[-1][1].fluctuation)


def test_inside_multi_steps_it_sees_the_steps_that_are_taken():
    tx = optax.MultiSteps(rodflow.monitored(optax.sgd(0.2)), every_k_schedule=2)
    alone = trained(rodflow.monitored(optax.sgd(0.2)), 2)[-1][1]
    state = trained(tx, 4)[-1][1]
    found = optax.tree.get(state, "realized_edge")
    np.testing.assert_allclose(found, alone.realized_edge, rtol=1e-4)


def test_flax_passes_the_loss_on():
    model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, rodflow.monitored(optax.adam(0.1)), wrt=nnx.Param)
    inputs = jnp.ones((4, 2))

    @nnx.jit
    def step(model, optimizer):
        graph, params = nnx.split(model)

        def of(params):
            return jnp.mean(nnx.merge(graph, params)(inputs) ** 2)

        value, grads = jax.value_and_grad(of)(params)
        optimizer.update(model, grads, value=value, value_fn=of)

    for _ in range(3):
        step(model, optimizer)
    assert np.isfinite(optax.tree.get(nnx.to_pure_dict(nnx.state(optimizer)), "realized_edge"))


def test_a_model_of_the_optimizer_is_that_of_the_one_within():
    tx = rodflow.monitored(optax.adam(0.1))
    iteration = rodflow.Iteration(loss, tx)
    assert iteration == rodflow.Iteration(loss, iteration.tx)
    state = tx.init(START)
    chex.assert_trees_all_equal(iteration.check((START, state)), iteration.init(START))
    grads = jax.grad(loss)(START)
    updates, state = tx.update(grads, state, START)
    after = iteration.step(iteration.init(START))
    chex.assert_trees_all_close(after.params, optax.apply_updates(START, updates), rtol=1e-6)


def test_readings_inside_another_transformation_are_refused_by_a_model():
    tx = optax.chain(optax.clip(1.0), rodflow.monitored(optax.sgd(0.1)))
    with pytest.raises(ValueError, match=r"readings of `rodflow\.monitored`"):
        rodflow.Iteration(loss, tx).init(START)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "`every` is 0; it must be at least 1."),
        ({"sharpness_every": 0}, "`sharpness_every` is 0; it must be at least 1."),
        ({"vectors": -1}, "`vectors` is -1; it must be at least 0."),
        ({"decay": 1.0}, "`decay` is 1.0; it must be below 1."),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        rodflow.monitored(optax.sgd(0.1), **arguments)


def test_parameters_are_needed_and_on_the_same_batch_the_loss():
    tx = rodflow.monitored(optax.sgd(0.1), same_batch=True)
    state = tx.init(START)
    with pytest.raises(ValueError, match="`params` is None"):
        tx.update(START, state)
    with pytest.raises(ValueError, match="`value` is None"):
        tx.update(START, state, START)


SHARDED = """
import jax, jax.numpy as jnp, optax, rodflow
from jax.sharding import NamedSharding, PartitionSpec as P
mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
place = NamedSharding(mesh, P("x"))
def loss(w): return jnp.sum(jnp.arange(1.0, 17.0) * w**2) / 8
def run(w):
    tx = rodflow.monitored(optax.adam(0.1), every=1, sharpness_every=10, by="leaf")
    state = jax.jit(tx.init)(w)
    @jax.jit
    def step(w, state):
        value, grads = jax.value_and_grad(loss)(w)
        updates, state = tx.update(grads, state, w, value=value, value_fn=loss)
        return optax.apply_updates(w, updates), state
    for _ in range(20):
        w, state = step(w, state)
    return state, w, step._cache_size()
whole, _, _ = run(jnp.ones(16))
parts, w, programs = run(jax.device_put(jnp.ones(16), place))
assert w.sharding.is_equivalent_to(place, 1), w.sharding
assert parts.fluctuation_state.mean_grads.sharding.is_equivalent_to(place, 1)
print(programs)
for name in "realized_edge", "directional_sharpness", "effective_sharpness", "fluctuation":
    one, other = getattr(whole, name), getattr(parts, name)
    assert abs(one - other) < 1e-3 * abs(one), (name, one, other)
"""


@pytest.mark.slow
def test_parameters_may_be_sharded():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", SHARDED], check=True, env={"PATH": "", **flags})
