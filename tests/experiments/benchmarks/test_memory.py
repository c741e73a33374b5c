import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import problems
from experiments.benchmarks.memory import allotted, compiled, followed
from experiments.configuration import config


def test_arguments_that_are_given_away_make_room_for_results():
    x = jnp.ones(1000)
    kept = jax.jit(lambda x: x + 1).lower(x).compile()
    assert allotted(kept) == 8000
    assert allotted(kept, arguments=False) == 4000
    assert allotted(compiled(lambda x: x + 1, x)) == 4000


def test_temporary_arrays_count():
    square = jnp.ones((500, 500))  # a million bytes, and as many for the product
    program = jax.jit(lambda x: jnp.sort(x @ x)[0].sum()).lower(square).compile()
    assert allotted(program) == pytest.approx(2e6, rel=0.01)


@pytest.mark.parametrize("flow", ["none", pytest.param("stable", marks=pytest.mark.slow)])
def test_a_small_network_is_counted_and_followed(flow):
    found = followed(8, flow, "model.depth=1", "data.length=4")
    small = ("model.width=8", "model.depth=1", "data.length=4")
    chosen = config.load(["model=transformer", "data=sorting", "data.size=16", *small])
    params = problems.configured(chosen).init(jax.random.key(0))
    assert found["parameters"] == sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    assert found["floats"] > 3  # parameters and moments of Adam
    assert found["peak"] > 0.05 and found["seconds"] > 0
    assert (found["distance"] > 0) == (flow == "stable")
