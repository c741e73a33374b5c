import numpy as np
import pytest

from experiments.problems.data.pooling import pooled


def test_blocks_are_averaged():
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 2))
    smaller = pooled(images, 2)
    assert smaller.shape == (3, 2, 2, 2)
    np.testing.assert_allclose(smaller[1, 0, 1], images[1, :3, 3:].mean((0, 1)))
    np.testing.assert_allclose(smaller[2, 1, 0], images[2, 3:, :3].mean((0, 1)))


def test_the_full_side_changes_nothing():
    images = np.random.default_rng(0).normal(size=(3, 6, 6, 2))
    np.testing.assert_array_equal(pooled(images, 6), images)


@pytest.mark.parametrize("side", [0, -2, 4, 12])
def test_side_out_of_range(side):
    with pytest.raises(ValueError, match=f"6 x 6 .* divides 6, got side={side}"):
        pooled(np.zeros((3, 6, 6, 2)), side)
