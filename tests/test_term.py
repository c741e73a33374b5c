import diffrax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow
from rodflow.term import AbstractField, FlowTerm

pytestmark = pytest.mark.usefixtures("x64")

Y = {"map": jnp.array([0.4, -0.7]), "ordinary": jnp.array([0.5, 1.5])}


class Coupled(AbstractField):
    """A field of which one part is the increment of a map."""

    corrected: bool = True

    @property
    def looks_back(self):
        return {"map": True, "ordinary": False}

    def increment(self, y):
        return {
            "map": jnp.sin(y["map"] * y["ordinary"]),
            "ordinary": jnp.cos(y["map"] - y["ordinary"]),
        }


def test_the_field_for_plain_solvers_looks_back_in_the_parts_that_do():
    field = Coupled()
    first = field.increment(Y)
    earlier = field.increment({"map": Y["map"] - first["map"] / 2, "ordinary": Y["ordinary"]})
    found = FlowTerm(field).vf(0.0, Y, None)
    np.testing.assert_allclose(found["map"], earlier["map"], rtol=1e-14)
    np.testing.assert_array_equal(found["ordinary"], first["ordinary"])


def test_the_increment_and_the_field_that_is_not_corrected_do_not_look_back():
    expected = Coupled().increment(Y)
    for found in (
        FlowTerm(Coupled()).increment(0.0, Y, None),
        FlowTerm(Coupled(corrected=False)).vf(0.0, Y, None),
    ):
        for name in Y:
            np.testing.assert_array_equal(found[name], expected[name])


def test_a_call_of_a_corrected_field_evaluates_the_increment_twice():
    assert FlowTerm(Coupled()).evaluations == 2
    assert FlowTerm(Coupled(corrected=False)).evaluations == 1


def test_the_term_of_a_flow_says_what_may_be_held_and_what_it_costs():
    iteration = rodflow.Iteration(lambda w: jnp.sum(w**4), optax.sgd(0.01))
    state = iteration.init(jnp.array([0.4, 0.7]))
    for flow, holds, work in (
        (rodflow.RodFlow(), False, [(0, 0, 0), (2, 0, 0)]),
        (rodflow.EdgeFlow(), False, [(0, 1, 0), (2, 0, 0)]),
        (rodflow.FreeEnergyFlow(rank=2), True, [(1, 2, 2), (1, 0, 0)]),
    ):
        term, y = flow.term(iteration), flow.init(iteration, state)
        assert isinstance(term, diffrax.ODETerm)
        assert term.holds == holds
        assert [tuple(part) for part in term.work(y)] == work


def test_a_held_term_has_the_field_where_it_was_held():
    """There it is the whole field; elsewhere the modes stay, and the gradient moves along."""
    iteration = rodflow.Iteration(lambda w: jnp.sum(w**4), optax.sgd(0.01))
    flow = rodflow.FreeEnergyFlow(rank=1)
    term = flow.term(iteration)
    y = flow.init(iteration, iteration.init(jnp.array([0.4, 0.7])))
    held = term.held_at(y)
    whole, found = (t.increment(0.0, y, None) for t in (term, held))
    np.testing.assert_allclose(found.z.params, whole.z.params, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, whole.covariance, rtol=1e-12)
    moved = y._replace(z=y.z._replace(params=2 * y.z.params))
    there = held.increment(0.0, moved, None)
    np.testing.assert_array_equal(there.covariance, found.covariance)
    np.testing.assert_allclose(there.z.params, 8 * whole.z.params, rtol=1e-6)
    assert not held.holds
