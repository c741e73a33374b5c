from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import rodflow
from experiments.setup import clock
from experiments.setup.clock import best_seconds, per_step, timed


def test_a_call_is_timed_and_keeps_its_results():
    results, seconds = timed(lambda: jnp.arange(3))
    np.testing.assert_array_equal(results, [0, 1, 2])
    assert 0 < seconds < 1


def test_times_are_the_best_of_several():
    calls = []
    seconds = best_seconds({"a": lambda: calls.append("a"), "b": lambda: None}, repeats=3)
    assert calls == ["a"] * 4
    assert set(seconds) == {"a", "b"}
    assert all(0 <= s < 1 for s in seconds.values())


def test_flows_are_timed_on_top_of_the_iterates(monkeypatch):
    flows = {"edge": rodflow.EdgeFlow(), "lost": rodflow.StableFlow()}

    def tracker_of(names):
        chosen = {name: flows[name] for name in names}
        return rodflow.Tracker(lambda w: jnp.sum(w**4), optax.sgd(0.1), chosen, every=2)

    state = jax.vmap(partial(tracker_of(list(flows)).init, warmup=0))(jnp.ones((2, 3)))
    lost = state.flows["lost"]._replace(diverged_at=jnp.array([1, 1], jnp.int32))
    found = per_step(tracker_of, state._replace(flows=state.flows | {"lost": lost}), records=5)
    assert found["iterates"] > 0 and np.isfinite(found["edge"]) and np.isnan(found["lost"])

    monkeypatch.setattr(clock, "best_seconds", lambda runs, repeats: {"iterates": 2.0, "edge": 5.0})
    assert per_step(tracker_of, state._replace(flows={"edge": state.flows["edge"]}), records=5) == {
        "iterates": 0.2,  # ten steps
        "edge": 0.3,
    }
