import jax.numpy as jnp
import pytest

import rodflow
from experiments.setup.flows import FLOWS, flow


@pytest.mark.parametrize("name", FLOWS)
def test_every_name_makes_its_flow(name):
    made = flow(name, 1e-2)
    others = {
        "stable": rodflow.StableFlow,
        "corrected": rodflow.StableFlow,
        "central": rodflow.CentralFlow,
        "edge": rodflow.EdgeFlow,
        "free_energy": rodflow.FreeEnergyFlow,
    }
    assert isinstance(made, others.get(name, rodflow.RodFlow))
    if isinstance(made, rodflow.StableFlow):
        assert made.corrected == (name == "corrected")
    if name.startswith("covariance"):
        assert made.closure.rank == int(name[-1])
    if name == "rod":
        assert made.closure.seed == jnp.float32(1e-2)
        assert flow(name, None).closure.seed is None
    if name.startswith("rod"):
        assert (made.closure.lookahead == 0) == (name == "rod_at_rest")
        one_step = not isinstance(made.integrator.solver, rodflow.OneLegLookback)
        assert one_step == (name == "rod_one_step")


def test_a_path_names_any_function_of_kappa():
    made = flow("experiments.setup.flows.covariance_4", None)
    assert made.closure.rank == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rood", "flows: rood: no such flow; choose from stable, corrected, rod"),
        ("no_such_module.rod", "flows: no_such_module.rod: there is no rod in no_such_module"),
        ("math.pi", "flows: math.pi: math.pi is no function"),
        ("math.isnan", "flows: math.isnan: .* is no flow"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        flow(name, 1.0)
