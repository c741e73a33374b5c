import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close

from rodflow import (
    Integrator,
    Iteration,
    MinibatchIteration,
    MultistepLookback,
    SignedRod,
    StochasticRod,
    effective_sharpness,
    track_ensemble,
)
from rodflow.tracking import Ensemble, Observables

KEY = jax.random.key(0)


def loss(w, batch):
    return jnp.mean((w - batch) ** 2) / 2 + jnp.mean(w) ** 4 / 8


def data():
    return jnp.asarray(np.random.default_rng(0).normal(size=(16, 2)))


def test_without_noise_all_paths_are_the_run_and_the_split_map_is_it(x64):
    tx, start = optax.sgd(1.6), jnp.array([1.0, -0.5])
    iteration = MinibatchIteration(loss, data(), 16, tx)
    flows = {"map": StochasticRod(SignedRod(seed=0.0))}
    found = track_ensemble(
        iteration,
        start,
        KEY,
        paths=2,
        num_steps=6,
        warmup=2,
        every=3,
        flows=flows,
        integrators={"map": Integrator(MultistepLookback(1), 1.0)},
    )
    whole = Iteration(lambda w: loss(w, data()), tx)
    states = [whole.init(start)]
    for _ in range(8):
        states.append(whole.step(states[-1]))
    w = np.stack([state.params for state in states[2:]])
    swing = np.sum(np.diff(w, axis=0) ** 2, axis=1) / 4
    off = np.sum((2 * w[1:-1] - w[:-2] - w[2:]) ** 2, axis=1) / 16
    np.testing.assert_array_equal(found.steps, [3, 6])
    expected = Observables(
        loss=np.array([whole.loss(w[3]), whole.loss(w[6])]),
        sharpness=np.array([effective_sharpness(whole.loss, tx, states[t])[0] for t in (5, 8)]),
        alternation=np.array([swing[:3].mean(), swing[3:].mean()]),
        deviation=np.array([off[:2].mean(), off[2:].mean()]),
        travelled=np.linalg.norm(w[[3, 6]] - w[0], axis=1),
    )
    for path in range(2):
        one = jax.tree.map(lambda x, path=path: x[path], found.iterates)
        assert_trees_all_close(one, expected, rtol=1e-6)
    assert_trees_all_close(found.flows["map"], found.iterates, rtol=1e-6)
    assert_trees_all_close(found.iterates.standard_error().loss, np.zeros(2), atol=1e-12)


def test_the_same_iteration_and_flows_are_traced_once():
    traces = []

    def counted(w, batch):
        traces.append(1)
        return loss(w, batch)

    iteration, flows = MinibatchIteration(counted, data(), 4, optax.sgd(0.1)), {}
    options = {"paths": 2, "num_steps": 2, "every": 1, "flows": flows}
    first = track_ensemble(iteration, jnp.zeros(2), KEY, **options)
    traces.clear()
    second = track_ensemble(iteration, jnp.zeros(2), KEY, **options)
    assert_trees_all_close(first, second, rtol=0)
    # A check that the loss is a scalar traces it, and compiles nothing.
    assert len(traces) <= 1
    assert np.isnan(first.iterates.deviation[:, 0]).all()  # one step has no midpoint


def test_the_rod_has_the_law_of_the_runs_and_the_usual_equation_has_not():
    iteration = MinibatchIteration(loss, data(), 4, optax.sgd(1.7))
    flows = {
        "rod": StochasticRod(full_drift=False),
        "sde": StochasticRod(rod=False, full_drift=False),
    }
    found = track_ensemble(
        iteration, jnp.zeros(2), KEY, paths=48, num_steps=60, every=30, flows=flows
    )
    away = found.deviations()
    assert np.abs(away["rod"].alternation).max() < 4 and np.abs(away["rod"].loss).max() < 4
    assert away["sde"].alternation.max() < -10
    assert np.abs(found.floor().loss).max() < 4


def test_deviations_are_in_standard_errors():
    def observables(values):
        return Observables(*[jnp.array(values)[:, None]] * 5)

    runs, flow = observables([1.0, 3.0]), observables([6.0, 8.0])
    found = Ensemble(jnp.array([1]), runs, {"a": flow, "b": runs})
    np.testing.assert_allclose(runs.standard_error().loss, [1.0])
    np.testing.assert_allclose(found.deviations()["a"].loss, [5 / 2**0.5], rtol=1e-6)
    assert found.deviations()["b"].loss == 0.0
    lines = found.summary().splitlines()
    assert lines[1].startswith("iterates") and "2 +- 1" in lines[1] and "7 +- 1" in lines[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"paths": 1}, "`paths` is 1; it must be at least 2"),
        ({"num_steps": 5, "every": 2}, "`num_steps` is 5; it must be a multiple of `every`, 2"),
    ],
)
def test_arguments_are_checked(options, message):
    iteration = MinibatchIteration(loss, data(), 4, optax.sgd(0.1))
    with pytest.raises(ValueError, match=message):
        track_ensemble(iteration, jnp.zeros(2), KEY, **options)
