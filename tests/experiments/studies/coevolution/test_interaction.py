import numpy as np
import pytest

from experiments.studies.coevolution import interaction


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def additive(rng, architectures=40, optimizers=5):
    return rng.normal(size=(architectures, 1)) + rng.normal(size=optimizers)


def planted(rng, strength, architectures=60, optimizers=5):
    """Every architecture suits one optimizer by `strength`, beside an additive table."""
    suits = np.arange(architectures) % optimizers
    return additive(rng, architectures, optimizers) + strength * np.eye(optimizers)[suits]


def as_grid(table, seeds=2):
    """The same score at one learning rate and every seed."""
    return np.repeat(table[:, :, None, None], seeds, axis=-1)


def test_an_additive_table_has_no_interaction(rng):
    fitness = additive(rng)
    table = interaction.transfer(fitness, fitness, 8)
    np.testing.assert_allclose(interaction.double_centred(table), 0, atol=1e-12)
    assert interaction.diagonal_advantage(table) == pytest.approx(0, abs=1e-12)
    assert interaction.rank_shift(fitness, fitness, 8) == pytest.approx(0)


def test_the_diagonal_advantage_of_a_known_table():
    # The identity's diagonal is 1 above the rest, and its row and column means are all equal.
    assert interaction.diagonal_advantage(np.eye(4)) == pytest.approx(1)
    rows, columns = np.arange(4.0)[:, None], np.arange(4.0) ** 2
    assert interaction.diagonal_advantage(np.eye(4) + rows + columns) == pytest.approx(1)


def test_a_planted_diagonal_is_found(rng):
    fitness = planted(rng, 3.0)
    table = interaction.transfer(fitness, fitness, 10)
    observed = interaction.diagonal_advantage(table)
    null = interaction.permuted(fitness, fitness, 10, 500, rng)
    assert interaction.p_value(observed, null.diagonal_advantage) < 0.01
    assert (interaction.rank_shift(fitness, fitness, 10) < 0).all()


def test_without_interaction_p_is_uniform(rng):
    values = []
    for _ in range(120):
        mean = additive(rng, 24, 4)
        fitness, score = (mean + 0.5 * rng.normal(size=mean.shape) for _ in range(2))
        table = interaction.transfer(fitness, score, 5)
        null = interaction.permuted(fitness, score, 5, 39, rng)
        observed = interaction.diagonal_advantage(table)
        values.append(interaction.p_value(observed, null.diagonal_advantage))
    # Of 120 uniform numbers the empirical distribution is off by more than .149 in 1 % of cases.
    values = np.sort(values)
    steps = np.arange(1, len(values) + 1) / len(values)
    assert abs(values - steps).max() < 0.149 + 1 / 40


def test_a_placebo_has_no_advantage(rng):
    fitness = planted(rng, 3.0)
    null = interaction.placebo(fitness, fitness, 10, 400, rng).diagonal_advantage
    assert abs(null.mean()) < 4 * null.std() / np.sqrt(len(null))


def test_variance_shares_sum_to_one_and_are_those_of_the_table(rng):
    score = rng.normal(size=(6, 4, 3))
    assert sum(interaction.variance_shares(score)) == pytest.approx(1)
    rows = np.repeat(rng.normal(size=(6, 1)), 4, axis=1)[..., None] + np.zeros(3)
    assert interaction.variance_shares(rows) == pytest.approx((1, 0, 0, 0))
    columns = np.repeat(rng.normal(size=(1, 4)), 6, axis=0)[..., None] + np.zeros(3)
    assert interaction.variance_shares(columns) == pytest.approx((0, 1, 0, 0))


def test_variance_shares_estimate_the_components(rng):
    a, o, s = 300, 300, 3
    score = 2 * rng.normal(size=(a, 1, 1)) + rng.normal(size=(o, 1))
    score = score + rng.normal(size=(a, o, 1)) + 2 * rng.normal(size=(a, o, s))
    shares = interaction.variance_shares(score)
    np.testing.assert_allclose(shares, [0.4, 0.1, 0.1, 0.4], atol=0.05)


def test_learning_rates_are_tuned_on_search_seeds_alone():
    nan = np.nan
    search = np.array([[[[1.0, 1.0], [3.0, 0.0], [nan, nan]]]])
    test = np.array([[[[5.0, 7.0], [9.0, 9.0], [nan, nan]]]])
    tuned = interaction.tuned(search, test)
    assert tuned.rate.item() == 1 and tuned.fitness.item() == 1.5
    np.testing.assert_array_equal(tuned.score, [[[9, 9]]])


def test_good_learning_rates_are_counted():
    scores = np.array([[[[0.0], [0.8], [1.0], [0.6], [np.nan]]]])
    assert interaction.breadth(scores, 0.3).item() == 2


def test_ties_share_their_rank():
    np.testing.assert_array_equal(interaction.ranks(np.array([[3.0, 1, 1, 0]])), [[1, 2.5, 2.5, 4]])


def test_what_a_joint_search_gains():
    fitness = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    found = interaction.statistics(as_grid(fitness), as_grid(fitness), 1, 0.3)
    assert found["joint"] == 3
    np.testing.assert_array_equal(found["regret"], [1, 0])
    np.testing.assert_array_equal(found["random"], [1, 4 / 3])


def test_the_bootstrap_covers_what_it_resamples(rng):
    table = as_grid(planted(rng, 3.0))

    def statistic(search, test):
        return interaction.statistics(search, test, 10, 0.3)

    low, high = interaction.bootstrap(statistic, table, table, 50, rng)
    found = statistic(table, table)
    assert low["diagonal_advantage"] < found["diagonal_advantage"] < high["diagonal_advantage"]
    assert low["diagonal_advantage"] > 0
    for name, value in found.items():
        assert low[name].shape == high[name].shape == value.shape
