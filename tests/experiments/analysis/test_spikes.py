"""Spikes, their running median, and stretches."""

import numpy as np

from experiments.analysis import spikes


def test_spikes_begin_where_the_loss_leaves_its_median():
    loss = 2 * np.exp(-np.arange(300) / 500)
    loss[100:104] *= 3
    loss[200] = np.inf
    assert spikes.spikes(loss) == [100, 200]
    assert spikes.spikes(2 * np.exp(-np.arange(300) / 100)) == []
    alternating = np.where(np.arange(300) % 2, 1.0, 1.49)
    assert spikes.spikes(alternating) == []


def test_a_loss_that_is_lost_is_a_spike():
    loss = np.ones(60)
    loss[40:] = np.nan
    assert spikes.spikes(loss) == [40]


def test_the_running_median_is_of_the_past_alone():
    values = np.arange(1.0, 31.0)
    median = spikes.running_median(values, window=5)
    assert np.isnan(median[:10]).all()
    np.testing.assert_array_equal(median[10:], values[10:] - 3)


def test_stretches_go_on_over_small_gaps():
    high = np.zeros(30, bool)
    high[[2, 3, 6, 10, 29]] = True
    assert spikes.stretches(high, 3) == [(2, 6), (10, 10), (29, 29)]
    assert spikes.stretches(high, 4) == [(2, 10), (29, 29)]
    assert spikes.stretches(np.zeros(5, bool), 3) == []
