import numpy as np

from experiments.studies.coevolution.scores import at_ends, score
from experiments.studies.coevolution.search import Ladder, searched
from experiments.studies.coevolution.training import Outcome


def test_a_diverged_run_has_the_loss_at_initialization():
    final, initial = np.array([np.inf, 5.0, 0.1, np.nan]), np.array([2.0, 2.0, 2.0, np.nan])
    np.testing.assert_allclose(score(final, initial), -np.log10([2, 2, 0.1, np.nan]))


def test_the_ends_of_a_grid():
    def ends(losses):
        losses = np.array(losses)[None, :, None]
        initial = np.where(np.isnan(losses), np.nan, 1.0)
        return tuple(bool(end[0]) for end in at_ends(score(losses, initial), initial))

    assert ends([np.nan, 0.1, 0.2, 0.3]) == (True, False)
    assert ends([0.3, 0.2, 0.1, np.nan]) == (False, True)
    assert ends([0.3, 0.1, 0.2]) == (False, False)
    assert ends([1.0, np.inf, 2.0]) == (False, False)  # nothing was learned


def test_grids_are_continued_until_the_best_is_inside():
    ladder = Ladder(points=5, widening=2, widenings=2)
    # Best at the 3rd point above the middle for even architectures, and far off the grid for odd.
    asked = []

    def train(rows, columns, seeds):
        asked.append(len(rows))
        assert set(seeds) == {0, 1, 2, 3}
        best = np.where(rows % 2 == 0, 3, -20)
        final = 10 ** (-1 + 0.1 * abs(ladder.places[columns] - best))
        return Outcome(np.full(len(rows), 100.0), final, np.zeros(len(rows)))

    found = searched(train, ladder, architectures=12, seeds=4, search_seeds=2)
    tried = ~np.isnan(found.initial[..., 0])
    places = ladder.places
    assert places.tolist() == list(range(-6, 7))
    assert (tried[::2] == ((places >= -2) & (places <= 4))).all()
    assert (tried[1::2] == (places <= 2)).all()
    assert asked == [12 * 5 * 4, 12 * 2 * 4, 6 * 2 * 4]
    low, high = at_ends(score(found.final, found.initial)[..., :2], found.initial[..., :2])
    assert low.tolist() == [False, True] * 6 and not high.any()
