import jax
import numpy as np
import pytest

from experiments.benchmarks import networks


@pytest.mark.parametrize("name", ["mlp", "sorting"])
def test_batches_are_samples_and_all_of_them_are_the_data(name):
    built = networks.network(networks.NETWORKS[name])
    params = built.init(jax.random.key(0))
    assert params.ndim == 1 and 1000 <= params.size <= 5000
    drawn = built.batch(jax.random.key(1), 7)
    known = {sample.tobytes() for sample in np.asarray(built.data.inputs)}
    assert len(drawn.inputs) == len(drawn.targets) == 7
    assert all(sample.tobytes() in known for sample in np.asarray(drawn.inputs))
    pieces = [
        jax.tree.map(lambda x, i=i: x[i::2], built.data) for i in range(2)
    ]  # halves of equal size
    halves = [float(built.loss(params, piece)) for piece in pieces]
    np.testing.assert_allclose(float(built.whole(params)), np.mean(halves), rtol=1e-5)
