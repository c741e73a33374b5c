import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.root_free import edge


@pytest.mark.parametrize("method", ["rmsprop", "rf_rmsprop"])
def test_every_coordinate_of_a_quadratic_ends_at_the_edge(method):
    curvatures = jnp.array([0.1, 1.0, 10.0])
    late = edge.on_quadratic(method, jnp.float32(0.05), curvatures, 2000)
    np.testing.assert_allclose(late.sharpness, 1, atol=0.03)
    if method == "rmsprop":
        np.testing.assert_allclose(late.loss, curvatures * 0.05**2 / 8, rtol=0.1)
    else:
        np.testing.assert_allclose(late.loss, (0.05 / 2 - 1e-4 / curvatures) / 2, rtol=0.1)


def test_the_rate_at_the_edge_is_the_smallest_that_gets_there_early():
    sharpness = np.array([[0.1, 0.2, 1.2, 1.0], [0.5, 1.1, 1.0, 1.0], [2.0, 1.0, 1.0, 1.0]])
    nothing = np.zeros((3, 4))
    tracked = edge.Tracked(sharpness, nothing, nothing, np.array([False] * 3), nothing)
    assert edge.first_at_edge(tracked) == 1
    diverged = tracked._replace(diverged=np.array([False, True, True]))
    assert edge.first_at_edge(diverged) == 0
