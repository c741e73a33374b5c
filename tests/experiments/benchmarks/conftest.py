import jax.numpy as jnp
import pytest

import rodflow


@pytest.fixture
def tracking():
    """Make a tracking of two seeds and two records from distances of flows, by their names."""

    def make(floor=None, **distances):
        steps = jnp.array([10, 20])
        zeros = jnp.zeros((2, 2))
        flows = {
            name: rodflow.FlowTracking(
                jnp.array(distance), *[zeros] * 6, None, None, None, -jnp.ones((2, 2), jnp.int32)
            )
            for name, distance in distances.items()
        }
        floor = None if floor is None else jnp.array(floor)
        shared = (zeros, zeros, zeros, zeros, floor, None, -jnp.ones((2, 2), jnp.int32))
        return rodflow.Tracking(jnp.stack([steps, steps]), *shared, flows)

    return make


@pytest.fixture
def quadratic(monkeypatch):
    """Put a quadratic of two parameters in place of every configured problem."""
    from experiments import problems

    curvatures = jnp.array([1.0, 4.0])
    problem = problems.Problem(lambda w: w @ (curvatures * w) / 2, lambda key: jnp.ones(2))
    monkeypatch.setattr(problems, "configured", lambda config: problem)
    return problem
