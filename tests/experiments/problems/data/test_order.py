import numpy as np
import pytest

from experiments.problems.data.order import alternating, spread


def test_classes_alternate_and_keep_their_order():
    labels = np.array([2, 0, 0, 1, 1, 0, 2, 0])
    order = alternating(labels)
    np.testing.assert_array_equal(labels[order], [0, 1, 2, 0, 1, 2, 0, 0])
    np.testing.assert_array_equal(order, [1, 3, 0, 2, 4, 6, 5, 7])


@pytest.mark.parametrize("count", [1, 2, 260, 840])
def test_a_spread_order_has_everything_once(count):
    np.testing.assert_array_equal(np.sort(spread(count)), np.arange(count))


@pytest.mark.parametrize("size", [10, 25, 100])
def test_prefixes_are_spread(size):
    gaps = np.diff(np.sort(spread(840)[:size]), append=840, prepend=0)
    assert gaps.max() < 3 * 840 / size
