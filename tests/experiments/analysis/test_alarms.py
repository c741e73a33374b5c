"""Alarms against spikes on series that are made up, where all can be counted by hand."""

import numpy as np
import pytest

from experiments.analysis import alarms


def over(steps, *places):
    readings = np.full(steps, 0.5)
    for first, last in places:
        readings[first : last + 1] = 2.0
    return readings


def test_an_alarm_before_a_spike_is_right_and_one_after_it_is_not():
    found = alarms.foresight(over(100, (40, 42), (80, 80)), [50], horizon=20, notice=5)
    counts = found.counts
    assert (counts.alarms, counts.right) == (2, 1)
    assert (counts.spikes, counts.foreseen, counts.noticed) == (1, 1, 1)
    assert found.leads == [10]
    assert found.warned


def test_a_spike_is_foreseen_within_the_horizon_alone():
    for at, foreseen, noticed in [(29, 0, 0), (30, 1, 1), (45, 1, 1), (46, 1, 0), (49, 1, 0)]:
        counts = alarms.foresight(over(100, (at, at)), [50], 20, 5).counts
        assert (counts.foreseen, counts.noticed) == (foreseen, noticed), at
        assert counts.right == foreseen
    # A reading at the step of a spike is made after it has begun.
    counts = alarms.foresight(over(100, (50, 60)), [50], 20, 5).counts
    assert (counts.foreseen, counts.right) == (0, 0)


def test_an_alarm_that_lasts_is_right_about_a_spike_while_it_does():
    counts = alarms.foresight(over(200, (20, 150)), [140], 20, 5).counts
    assert (counts.alarms, counts.right) == (1, 1)
    assert alarms.foresight(over(200, (20, 150)), [140], 20, 5).leads == [20]  # the horizon


def test_chance_is_what_every_place_and_every_step_of_the_run_would_give():
    steps, horizon, notice, begun = 60, 8, 3, [30, 44]
    readings = over(steps, (24, 26), (50, 51))
    found = alarms.foresight(readings, begun, horizon, notice).counts
    right = 0.0
    for first, last in [(24, 26), (50, 51)]:
        length = last - first
        places = [any(a < s <= a + length + horizon for s in begun) for a in range(steps - length)]
        right += np.mean(places)
    assert found.right_by_chance == pytest.approx(right)
    times = range(alarms.START, steps)

    def foreseen(t, least):
        return any(readings[max(0, t - horizon) : t - least + 1] > 1)

    assert found.foreseen_by_chance == pytest.approx(2 * np.mean([foreseen(t, 1) for t in times]))
    assert found.noticed_by_chance == pytest.approx(
        2 * np.mean([foreseen(t, notice) for t in times])
    )
    assert found.times == steps - alarms.START
    assert found.noticed_times == sum(foreseen(t, notice) for t in times)
    assert found.followed == sum(any(t < s <= t + horizon for s in begun) for t in times)


def test_a_meter_that_is_always_over_its_line_is_no_better_than_chance():
    counts = alarms.foresight(np.full(300, 2.0), [100, 200]).counts
    assert counts.foreseen == counts.foreseen_by_chance == counts.noticed_by_chance == 2
    assert counts.right == counts.right_by_chance == 1


def test_alarms_at_random_times_are_as_good_as_chance_says():
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(400):
        readings = over(400, *((t, t) for t in rng.integers(400, size=4)))
        begun = sorted(set(rng.integers(alarms.START, 400, size=3).tolist()))
        counts.append(alarms.foresight(readings, begun).counts)
    found = alarms.total(counts)
    assert found.foreseen / found.spikes == pytest.approx(
        found.foreseen_by_chance / found.spikes, abs=0.02
    )
    assert found.right / found.alarms == pytest.approx(
        found.right_by_chance / found.alarms, abs=0.02
    )
    columns = np.array(counts).T
    names = list(alarms.Counts._fields)
    picked = [columns[names.index(x)] for x in ("noticed", "spikes", "noticed_by_chance", "spikes")]
    interval = alarms.gain(*picked)
    assert interval.low < 0 < interval.high


def test_a_run_without_spikes_has_false_alarms_alone():
    found = alarms.foresight(over(100, (40, 42)), [], 20, 5)
    assert (found.counts.alarms, found.counts.right, found.counts.right_by_chance) == (1, 0, 0)
    assert (found.counts.spikes, found.counts.foreseen, found.counts.foreseen_by_chance) == (
        0,
        0,
        0,
    )
    assert found.leads == [] and found.ranks == [] and found.warned
    assert not alarms.foresight(over(100), [], 20, 5).warned
    # An alarm after the first spike is no warning before it.
    assert not alarms.foresight(over(100, (40, 42)), [30, 60], 20, 5).warned


def test_ranks_compare_the_reading_before_a_spike_with_all_others():
    readings = np.linspace(0, 0.9, 100)
    readings[5] = np.nan
    found = alarms.foresight(readings, [60, 99], 20, notice=10)
    # Readings from START to 89 are compared: 40 of 80 are lower than that at 50.
    np.testing.assert_allclose(found.ranks, [(40 + 0.5) / 80, (79 + 0.5) / 80])
    assert alarms.foresight(np.full(100, np.nan), [60]).ranks == []


def test_a_gain_is_exact_where_all_runs_are_alike():
    interval = alarms.gain(*(np.full(5, x) for x in (3.0, 4.0, 10.0, 40.0)))
    assert interval == pytest.approx((0.5, 0.5, 0.5))
    assert np.isnan(alarms.gain(*np.zeros((4, 3))).value)
