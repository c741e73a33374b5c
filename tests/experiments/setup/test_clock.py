from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import rodflow
from experiments.setup.clock import (
    Arithmetic,
    _products,
    arithmetic,
    best_seconds,
    bound,
    fastest,
    per_step,
    products_alone,
)


def test_times_are_the_best_of_several():
    calls = []
    seconds = best_seconds({"a": lambda: calls.append("a"), "b": lambda: None}, repeats=3)
    assert calls == ["a"] * 4
    assert set(seconds) == {"a", "b"}
    assert all(0 <= s < 1 for s in seconds.values())


def test_arithmetic_bounds_what_batching_can_bring():
    square = jnp.ones((8, 8))
    assert arithmetic(jnp.matmul, square, square) == (2 * 8**3, 0)
    assert arithmetic(lambda x: jnp.tanh(x @ x), square) == (2 * 8**3, 8**2)
    rate = fastest(squares=(64, 128), lengths=(256, 512))
    assert 1e6 < rate.products < 1e15 and 1e5 < rate.functions < 1e14
    said = bound(Arithmetic(1e11, 1e9), 2.0, Arithmetic(2e11, 2e9))
    assert "are 50 Gflop/s" in said and "takes 1 s" in said and "more than 2.0 times" in said


def test_products_are_timed_wherever_they_are():
    square = jnp.eye(8)

    def function(x):
        once = jax.jit(lambda x: x @ x)(x)
        return jax.lax.cond(x[0, 0] > 0, lambda x: jnp.tanh(x) @ x, lambda x: x, once)

    assert 0 < products_alone(function, square) < 1
    assert len(list(_products(jax.make_jaxpr(function)(square)))) == 2
    assert products_alone(jnp.tanh, square) == 0


def test_flows_are_timed_on_top_of_the_iterates():
    flows = {"edge": rodflow.EdgeFlow, "lost": rodflow.StableFlow}

    def tracker_of(names):
        chosen = {name: flows[name] for name in names}
        return rodflow.Tracker(lambda w: jnp.sum(w**4), optax.sgd(0.1), chosen, every=2)

    state = jax.vmap(partial(tracker_of(list(flows)).init, warmup=0))(jnp.ones((2, 3)))
    lost = state.flows["lost"]._replace(diverged_at=jnp.array([1, 1], jnp.int32))
    found = per_step(tracker_of, state._replace(flows=state.flows | {"lost": lost}), records=5)
    assert found["iterates"] > 0 and np.isfinite(found["edge"]) and np.isnan(found["lost"])
