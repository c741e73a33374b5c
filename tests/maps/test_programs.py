"""Programs of trackers and sweeps are found again, and freed once others took their place."""

import functools
import gc
import weakref

import jax
import jax.numpy as jnp
import optax
import pytest
from chex import assert_trees_all_equal

import rodflow
from rodflow.maps import programs

START = jnp.array([0.3, 0.5])


class Counted:
    """A loss over data that counts how often it is traced."""

    def __init__(self):
        self.traces, self.data = 0, jnp.array([1.0, 2.0])

    def __call__(self, w):
        self.traces += 1
        return jnp.sum(jnp.cosh(w * self.data))


@pytest.fixture
def kept(monkeypatch):
    """Keep the programs of one tracker, from none."""
    few = functools.lru_cache(maxsize=4)(programs.program_of.__wrapped__)
    monkeypatch.setattr(programs, "program_of", few)


def track(loss, tx):
    return rodflow.track(loss, tx, START, num_steps=4, warmup=2, every=2)


def test_a_loop_over_learning_rates_frees_chains_and_programs(kept):
    """Of six rates, each a chain of its own, only the last few are alive, with their programs."""
    loss, chains, alive = Counted(), [], []
    for rate in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06):
        tx = optax.sgd(rate)
        track(loss, tx)
        chains.append(weakref.ref(tx.update))
        alive.append(len(jax.devices()[0].client.live_executables()))
        del tx
    gc.collect()
    assert sum(chain() is not None for chain in chains) <= 2
    assert chains[0]() is None
    assert alive[-1] <= alive[3]


def test_a_loop_over_losses_frees_their_data(kept):
    tx, losses = optax.sgd(0.01), []
    for _ in range(4):
        loss = Counted()
        track(loss, tx)
        losses.append(weakref.ref(loss))
        del loss
    gc.collect()
    assert losses[0]() is None and losses[1]() is None


def test_a_loop_over_sweeps_frees_what_they_sweep(kept):
    members = []
    for _ in range(6):
        member = Counted()
        rodflow.sweep(lambda h, member=member: member(h["w"]), {"w": jnp.arange(3.0)}, chunk=2)
        members.append(weakref.ref(member))
        del member
    gc.collect()
    assert [member() for member in members[:3]] == [None] * 3


@pytest.mark.parametrize(
    "measure",
    [rodflow.effective_sharpness, pytest.param(rodflow.edge, marks=pytest.mark.slow)],
)
def test_a_loop_over_readings_frees_chains_and_traces_each_once(kept, measure):
    loss, chains = Counted(), []
    for rate in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06):
        tx = optax.sgd(rate)
        state = (START, tx.init(START))
        first = measure(loss, tx, state)
        loss.traces = 0
        assert_trees_all_equal(measure(loss, tx, state), first)
        assert loss.traces == 0
        chains.append(weakref.ref(tx.update))
        del tx
    gc.collect()
    assert [chain() for chain in chains[:2]] == [None] * 2


def test_the_same_loss_and_chain_are_traced_once():
    loss, tx = Counted(), optax.adam(0.01)
    first = track(loss, tx)
    loss.traces = 0
    assert_trees_all_equal(track(loss, tx), first)
    # Checks that the loss is a scalar trace it, and compile nothing.
    assert loss.traces <= 1
