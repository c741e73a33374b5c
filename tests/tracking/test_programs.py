"""Programs are shared by all that differs in values alone, and flows are swept by their leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from chex import assert_trees_all_close, assert_trees_all_equal

import rodflow
from rodflow import CovarianceRod, EdgeFlow, RodFlow, SignedRod, Tracker


class Counted:
    """A loss that counts how often it is traced."""

    def __init__(self):
        self.traces = 0

    def __call__(self, w):
        self.traces += 1
        return jnp.sum(jnp.cosh(w * jnp.array([1.0, 2.0])))


START = jnp.array([0.3, 0.5])


def run(tracker, state=None):
    return tracker.run(tracker.init(START, warmup=2) if state is None else state, 2)


@pytest.mark.parametrize("flow", [RodFlow, rodflow.CentralFlow], ids=lambda flow: flow.__name__)
def test_trackers_of_the_same_objects_share_programs(flow):
    """A second one is traced in no part, and gives the same bits."""
    loss, tx = Counted(), optax.adam(1 / 16)
    first, second = (Tracker(loss, tx, {"flow": flow()}, every=2) for _ in range(2))
    known = run(first)
    loss.traces = 0
    again = second.run(second.init(START, warmup=2), 2)
    assert loss.traces == 0
    assert_trees_all_equal(again, known)


def test_an_injected_learning_rate_needs_no_other_program():
    """It is a leaf of the state."""
    loss, tx = Counted(), optax.inject_hyperparams(optax.adam)(1 / 16)
    tracker = Tracker(loss, tx, {"rod": RodFlow()}, every=2)
    state = tracker.init(START, warmup=2)
    first = run(tracker, state)[1]
    loss.traces = 0

    def slower(run):
        opt_state = run.state.opt_state
        rates = jax.tree.map(lambda rate: rate / 2, opt_state.hyperparams)
        return run._replace(
            state=run.state._replace(opt_state=opt_state._replace(hyperparams=rates))
        )

    second = run(tracker, state._replace(run=slower(state.run)))[1]
    assert loss.traces == 0
    assert jnp.all(second.travelled < first.travelled)


def test_another_seed_of_a_flow_or_other_data_need_no_other_program():
    """Both are leaves of the tracker."""
    traces = []

    def of(w, batch):
        traces.append(None)
        return jnp.sum(jnp.cosh(w * batch))

    tx, records = optax.sgd(1 / 16), []
    for seed, scale in ((1e-3, 1.0), (1e-2, 1.0), (1e-3, 2.0)):
        loss = rodflow.Minibatches(of, scale * jnp.ones((2, 2)))
        # The loss of a start is evaluated by a program of its own.
        tracker = Tracker(loss, tx, {"rod": RodFlow(SignedRod(seed=seed))}, every=2)
        state = tracker.init(START, warmup=2)
        traces.clear()
        records.append(tracker.run(state, 2)[1])
    assert not traces
    first, seeded, steeper = records
    np.testing.assert_array_equal(seeded.loss, first.loss)
    assert jnp.all(seeded.flows["rod"].extent != first.flows["rod"].extent)
    assert jnp.all(steeper.loss != first.loss)


def two_cosines(w):
    return jnp.sum(jnp.array([1.0, 2.0]) * jnp.cos(w))


def tracked(flow):
    return rodflow.track(
        two_cosines, optax.sgd(0.9), START, num_steps=12, warmup=1, every=4, flows={"flow": flow}
    ).flows["flow"]


SEEDS = jnp.array([1e-4, 1e-3, 1e-2])
FLOWS = {
    "signed": lambda seed: RodFlow(SignedRod(seed=seed)),
    "covariance": lambda seed: RodFlow(CovarianceRod(rank=2, seed=seed)),
    "edge": lambda seed: EdgeFlow(floor=seed),
}


@pytest.mark.parametrize(
    "name", ["signed", *(pytest.param(n, marks=pytest.mark.slow) for n in ("covariance", "edge"))]
)
def test_a_sweep_over_the_seed_of_a_flow(name):
    """Lanes that make a flow each, and those of one flow with an array of seeds, are own runs."""
    build = FLOWS[name]
    inside = jax.jit(jax.vmap(lambda seed: tracked(build(seed))))(SEEDS)
    outside = jax.jit(jax.vmap(tracked))(build(SEEDS))
    assert_trees_all_close(outside, inside, rtol=1e-6)
    one = jax.jit(lambda seed: tracked(build(seed)))
    for lane, seed in enumerate(SEEDS):
        own = jax.tree.map(lambda leaf, lane=lane: leaf[lane], inside)
        assert_trees_all_close(own, one(seed), rtol=1e-4, atol=1e-6)
    assert len(np.unique(inside.extent[:, 0])) == len(SEEDS)
