import numpy as np
import pytest
import xarray as xr

import rodflow
from experiments.studies.study import markdown, shown_of
from experiments.studies.warmup import measures
from experiments.studies.warmup.study import Arm, Warmup, share

ARMS = ["Adam", "Adam, warmup 3", "Adam-2k", "RAdam", "SGD"]
RATES = [0.1, 0.01]


@pytest.fixture
def results():
    """Of made-up runs: those at the larger learning rate climb, and have the larger sharpness."""
    random = np.random.default_rng(0)
    runs = {"arm": ARMS, "gradients": ["minibatch", "full batch"], "learning_rate": RATES}
    runs |= {"init": [0, 1]}
    shape = tuple(map(len, runs.values()))
    step, time, bins = np.arange(1, 21), np.array([1, 4, 10, 20]), np.linspace(-11.875, 1.875, 56)
    loss = np.linspace(2, 0.5, 20) * np.ones((*shape, 20))
    loss[:, :, 0, :, 12] = 3
    sharpness = np.where(np.array(RATES) == 0.1, 2.0, 0.5)[:, None, None] * np.ones((*shape, 4))
    spread = random.uniform(0.1, 0.2, size=(*shape, 4)) * np.array([1, 0])[:, None, None, None]
    histogram = np.zeros((*shape, 20, 56))
    histogram[..., :9, 40] = 1
    histogram[..., 9:, 32] = 1
    ends = random.uniform(size=(*shape, 3))
    named = tuple(runs)
    return xr.Dataset(
        {
            "loss": ((*named, "step"), loss),
            "histogram": ((*named, "step", "bin"), histogram),
            "sharpness": ((*named, "time"), sharpness),
            "spread": ((*named, "time"), spread),
            "train_loss": ((*named, "member"), ends),
            "accuracy": ((*named, "member"), ends),
        },
        runs | {"step": step, "time": time, "bin": bins, "member": [0, 1, 2]},
        {"shown": 0.1, "b2": 0.999, "wait": 5, "study": "experiments.studies.warmup.study.Warmup"},
    )


def test_a_climb_is_relative_to_the_start(results):
    climbs = measures.climb(results)
    np.testing.assert_allclose(climbs.sel(learning_rate=0.1), 1.5)
    np.testing.assert_allclose(climbs.sel(learning_rate=0.01), 1)


def test_a_run_that_diverges_climbs_without_bound(results):
    results.loss[..., -1] = np.nan
    assert np.isinf(measures.climb(results)).all()


def test_pairs_in_order():
    climbs = np.array([3.0, 3.0, 1.0, 1.0])
    assert measures.concordance(np.array([4, 3, 2, 1]), climbs) == (1, 4)
    assert measures.concordance(np.array([4, 1, 2, 2]), climbs) == (0.5, 4)
    assert measures.concordance(np.ones(4), climbs) == (0.5, 4)
    assert measures.concordance(np.array([4, 1, 2, 2]), climbs, np.array([0, 1, 0, 2])) == (1, 1)
    assert np.isnan(measures.concordance(np.ones(4), np.ones(4))[0])


def test_the_reading_that_foretells_climbs_is_found(results):
    orders = measures.measured(results).orders
    assert orders["effective sharpness"]["all pairs"] == (1, 256)
    # All runs of a learning rate are alike.
    assert orders["effective sharpness"]["pairs of one lr"].pairs == 0
    assert orders["learning rate"]["all pairs"] == (1, 256)
    assert 0.3 < orders["variance of the ratio"]["all pairs"].share < 0.7
    table = {row[0]: row[1:] for row in shown_of(results).tables[3].rows}
    assert table["effective sharpness"][:2] == ["1.00 (of 256)", "n/a (of 0)"]
    assert table["learning rate"] == table["effective sharpness"]


def test_the_median_gradient_moves_by_two_decades(results):
    median = measures.measured(results).magnitude.sel(arm="Adam")
    assert median.sel(step=10) - median.sel(step=9) == -2


def test_it_can_be_shown(results):
    shown = shown_of(results)
    text = markdown(shown)
    assert "in 8 of 16 adaptive runs with minibatches" in text
    assert "Of the runs with an effective sharpness above 1 in the first 10 steps 16 of 16" in text
    assert "moves by: Adam -2.00" in text
    names = ("gradients", "accuracy", "readings", "climbs")
    figures = shown.figures()
    assert list(figures) == [f"warmup-{name}" for name in names]
    assert [len(figure.axes) for figure in figures.values()] == [7, 2, 6, 2]


STUDY = Warmup(
    problem=["model=mlp", "model.depth=0", "data=sorting", "data.length=2"],
    train=8,
    test=12,
    batch=4,
    steps=6,
    measurements=3,
    b2=0.999,
    eps=1e-4,
    warmups=[3],
    wait=2,
    learning_rates=[0.03, 0.01],
    shown=0.03,
    inits=1,
    members=2,
    seed=0,
)


def test_shares_are_those_of_the_full_size():
    times = np.array([1, 2, 5, 100])
    np.testing.assert_allclose(share(Arm("", "adam", warmup=4), times, 0.999), [0.25, 0.5, 1, 1])
    rectified = share(Arm("", "radam"), times, 0.999)
    np.testing.assert_allclose(rectified[:2], 1)
    np.testing.assert_allclose(rectified[2:], rodflow.rectification(times[2:], 0.999).r)


@pytest.mark.slow
def test_the_whole_study():
    whole = STUDY.joined({name: compute() for name, compute in STUDY.parts().items()})
    assert whole.gradients.values.tolist() == ["minibatch", "full batch"]
    assert whole.arm.values.tolist() == [arm.label for arm in STUDY.arms()]
    adam, warm, waited = (whole.sel(arm=a) for a in ("Adam", "Adam, warmup 3", "Adam-2k"))
    # Memories and weights of the first step are the same: the sharpness is a third of Adam's.
    np.testing.assert_allclose(
        warm.sharpness.isel(time=0), adam.sharpness.isel(time=0) / 3, rtol=1e-3
    )
    np.testing.assert_allclose(
        adam.sharpness.isel(time=0, learning_rate=0),
        3 * adam.sharpness.isel(time=0, learning_rate=1),
        rtol=1e-3,
    )
    # Until they move, all see the same samples: the relative variance is that of one or three.
    one = adam.spread.isel(time=0).sel(gradients="minibatch")
    np.testing.assert_allclose(one[0], one[1], rtol=1e-5)
    assert (waited.spread.isel(time=0).sel(gradients="minibatch") < one).all()
    # Gradient descent has no ratio: nothing is measured of it.
    spread = whole.spread.sel(gradients="full batch")
    assert (spread.drop_sel(arm="SGD") == 0).all() and spread.sel(arm="SGD").isnull().all()
    shown = whole.assign_attrs(study="experiments.studies.warmup.study.Warmup")
    assert "Share of the pairs of runs" in markdown(shown_of(shown))
