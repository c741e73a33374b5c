import numpy as np
import pytest

from experiments.analysis.verdicts import Divergence, Verdict, representative, summarize


def test_numbers_of_a_cell(cell):
    rod = summarize(cell, "rod")
    assert (rod.optimizer, rod.problem, rod.seeds) == ("adam", "vit", (0, 1, 7))
    assert rod.improvements == (50.0, 25.0, 12.5)
    assert rod.improvement == 25
    assert rod.over_floor == pytest.approx(4)  # of 2, 4 and 8
    assert rod.loss_error == pytest.approx(0.01)
    assert rod.sharpness == pytest.approx((1.2, 1.2, 1.2))
    assert rod.divergences == ()
    assert rod.at_edge
    assert (rod.verdict, rod.reason) == (Verdict.OK, "ok")


def test_without_twins_there_is_no_floor(cell):
    assert np.isnan(summarize(cell.drop_vars("floor"), "rod").over_floor)


def test_a_flow_that_diverges_alone_counts_as_zero(cell, diverge):
    for seed in (0, 1):
        diverge(cell, seed, 40, "rod")
    rod = summarize(cell, "rod")
    assert rod.improvements == (0.0, 0.0, 12.5)
    assert rod.improvement == 0
    assert rod.over_floor == np.inf
    assert rod.verdict is Verdict.DIVERGED
    assert rod.divergences == (Divergence("rod", 0, 40), Divergence("rod", 1, 40))
    assert "rod flow diverged at step 40 (seed 1)" in rod.reason
    assert summarize(cell, "covariance_4").verdict is Verdict.OK


def test_iterates_that_diverge_say_nothing_against_the_flow(cell, diverge):
    diverge(cell, 0, 40)
    diverge(cell, 0, 40, "rod")
    rod = summarize(cell, "rod")
    assert np.isnan(rod.improvements[0])
    assert rod.improvement == np.median([25, 12.5])
    assert rod.verdict is Verdict.DIVERGED
    assert "iterates diverged at step 40 (seed 0)" in rod.reason


def test_without_a_baseline_there_is_no_number(cell, diverge):
    for seed in cell.seed.values:
        diverge(cell, seed, 30, "stable")
        cell["improvement"].loc[{"seed": seed}] = np.nan
    rod = summarize(cell, "rod")
    assert rod.verdict is Verdict.NO_NUMBER
    assert "stable flow diverged at step 30 (seed 7)" in rod.reason


@pytest.mark.filterwarnings("error")
def test_a_cell_of_nan_has_a_verdict(cell):
    nothing = cell.where(cell.step < 0).assign(diverged_at=cell.diverged_at.copy())
    nothing["flow_diverged_at"] = cell.flow_diverged_at
    nothing["improvement"] = cell.improvement * np.nan
    rod = summarize(nothing, "rod")
    assert rod.verdict is Verdict.NO_NUMBER and not rod.at_edge
    assert "effective sharpness n/a at most" in rod.reason


def test_the_edge_is_reached_by_half_of_the_seeds(cell):
    cell["effective_sharpness"].loc[{"seed": 0}] *= 0.5
    assert summarize(cell, "rod").at_edge
    cell["effective_sharpness"].loc[{"seed": 1}] *= 0.5
    short = summarize(cell, "rod")
    assert short.verdict is Verdict.NOT_AT_THE_EDGE
    assert short.reason == "not at the edge: effective sharpness 1.2 at most"


def test_catapults_are_counted_or_estimated(cell):
    assert summarize(cell, "rod").catapults == (0, 0, 0)
    cell["mean_loss"].loc[{"seed": 1, "step": 30}] *= 5
    assert summarize(cell, "rod").catapults == (0, 1, 0)
    assert summarize(cell, "rod").reason == "a catapult for 1 of 3 seeds"
    assert summarize(cell.assign(catapults=("seed", [0, 0, 4])), "rod").catapults == (0, 0, 4)


@pytest.mark.parametrize(("factor", "leaps"), [(5, 1), (0.1, 0)])
def test_a_loss_that_leaps_up_is_a_catapult_and_one_that_falls_is_none(cell, factor, leaps):
    cell["loss"].loc[{"seed": 1, "step": slice(30, None)}] *= factor
    assert summarize(cell, "rod").catapults == (0, leaps, 0)


def test_distance_and_floor_are_compared_where_both_are_known(cell):
    """A twin may diverge: the floor is then unknown from there on, and the distance grows."""
    cell["floor"].loc[{"seed": 1, "step": slice(40, None)}] = np.nan
    assert summarize(cell, "rod").over_floor == pytest.approx(4)  # still of 2, 4 and 8


def test_the_representative_seed_has_the_median_improvement(cell):
    assert representative(cell) == 1
    cell["improvement"].loc[{"seed": 1}] = np.nan
    assert representative(cell) == 2  # the lower of two
    assert representative(cell.sel(flow=["stable"])) == 0
