import numpy as np

from experiments.analysis import paths

STEPS = np.arange(40.0)
SIGNS = (-1.0) ** np.arange(40)


def test_an_alternation_is_found_beside_a_drift():
    path = np.stack([0.3 * SIGNS + STEPS, 2 + 0 * STEPS], axis=1)
    found = paths.alternation(path)
    assert np.isnan(found[[0, -1]]).all()
    np.testing.assert_allclose(found[1:-1], np.stack([0.3 * SIGNS, 0 * STEPS], axis=1)[1:-1])


def test_the_variance_is_a_running_mean_of_what_is_known():
    moves = np.stack([SIGNS, STEPS], axis=1)
    moves[0] = np.nan
    found = paths.variance(moves)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:, 0], 1)
    np.testing.assert_allclose(found[20, 1], np.mean(np.arange(16.0, 25) ** 2))
    np.testing.assert_allclose(found[1, 1], np.mean(np.arange(1.0, 6) ** 2))


def test_the_first_burst_is_in_the_first_half_of_the_window():
    size = np.where(STEPS < 20, 1e-3, 1.0)
    path = np.stack([size * SIGNS, 0 * STEPS], axis=1)
    window = paths.first_burst(path, 12)
    assert window.start < 20 < window.start + 6 and window.stop - window.start == 12
    assert paths.first_burst(path, 100) == slice(0, 40)
    assert paths.first_burst(np.full((5, 2), np.nan), 3) == slice(0, 3)
