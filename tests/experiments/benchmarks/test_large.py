import jax
import numpy as np
import pytest

from experiments import problems
from experiments.benchmarks.large import followed
from experiments.configuration import config


@pytest.mark.parametrize("flow", ["none", pytest.param("stable", marks=pytest.mark.slow)])
def test_a_small_network_is_counted_and_followed(flow):
    found = followed(8, flow)
    chosen = config.load(["model=transformer", "model.width=8", "data=sorting", "data.size=16"])
    params = problems.configured(chosen).init(jax.random.key(0))
    assert found["parameters"] == sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    assert found["floats"] > 3  # parameters and moments of Adam
    assert found["peak"] > 0.05 and found["seconds"] > 0
    assert (found["distance"] > 0) == (flow == "stable")
