import jax.numpy as jnp
import pytest

import rodflow
from experiments.configuration.functions import FlowName


@pytest.mark.parametrize("name", list(FlowName))
def test_every_name_makes_its_flow(name):
    flow = name(1e-2)
    others = {
        FlowName.stable: rodflow.StableFlow,
        FlowName.corrected: rodflow.StableFlow,
        FlowName.central: rodflow.CentralFlow,
        FlowName.edge: rodflow.EdgeFlow,
        FlowName.free_energy: rodflow.FreeEnergyFlow,
    }
    assert isinstance(flow, others.get(name, rodflow.RodFlow))
    if isinstance(flow, rodflow.StableFlow):
        assert flow.corrected == (name is FlowName.corrected)
    if name.name.startswith("covariance"):
        assert flow.closure.rank == int(name.name[-1])
    if name is FlowName.rod:
        assert flow.closure.seed == jnp.float32(1e-2)
        assert name(None).closure.seed is None
    if name.name.startswith("rod"):
        assert (flow.closure.lookahead == 0) == (name is FlowName.rod_at_rest)
        one_step = not isinstance(flow.integrator.solver, rodflow.OneLegLookback)
        assert one_step == (name is FlowName.rod_one_step)
