import numpy as np

from experiments.studies.root_free import training, tuning
from experiments.studies.root_free.methods import Hyperparameters


def test_configurations_are_at_the_same_places_of_the_ranges_of_every_method():
    ranges = {name: (1e-4, 1e-2) for name in Hyperparameters._fields}
    first = tuning.drawn(ranges, 50, 0)
    second = tuning.drawn(ranges | {"learning_rate": (1.0, 100.0)}, 50, 0)
    np.testing.assert_allclose(second.learning_rate, 1e4 * first.learning_rate)
    assert first.learning_rate.min() >= 1e-4 and first.learning_rate.max() <= 1e-2
    # Log-uniform: half of them below the geometric mean.
    assert 15 < (first.learning_rate < 1e-3).sum() < 35


def test_the_best_configuration_is_the_most_accurate_one_and_then_the_one_of_lowest_loss():
    def train(h, seeds):
        loss = h.weight_decay + 0.0 * seeds
        return training.Outcome(loss, loss, h.learning_rate, loss, loss)

    accuracies = np.array([0.5, 0.9, 0.9, 0.1])
    losses = np.array([0.0, 2.0, 1.0, 0.0])
    found = tuning.search(train, Hyperparameters(accuracies, losses, losses, losses), [7, 8])
    assert found.best == 2 and found.outcome.train_loss.shape == (4, 2)
