import numpy as np
import pytest

from experiments.studies.rectification.study import Rectification
from experiments.studies.study import markdown, shown_of


@pytest.fixture(scope="module")
def results():
    study = Rectification(
        b2s=[0.9, 0.999],
        steps=1000,
        b2=0.999,
        means=[0.0, 10.0],
        trajectories=2000,
        simulated_steps=100,
        seed=0,
    )
    joined = study.joined({name: compute() for name, compute in study.parts().items()})
    return joined.assign_attrs(study="experiments.studies.rectification.study.Rectification")


def test_the_simulation_meets_the_theory_where_that_is_an_expansion_in_1_over_rho(results):
    late = results.isel(mean=0).sel(time=slice(50, None))
    np.testing.assert_allclose(late.variance, late.theory, rtol=0.1)


def test_the_rectified_variance_is_constant(results):
    late = (results.isel(mean=0).variance * results.factor**2).sel(time=slice(50, None))
    assert late.max() < 1.1 * late.min()


def test_gradients_far_from_zero_have_nothing_to_rectify(results):
    assert (results.variance.isel(mean=1) < 1e-3).all()


def test_the_adaptive_ratio_of_one_gradient_is_its_inverse(results):
    # 1 / |g| of g from N(0, 1) has no variance at all: the sample's is that of its largest.
    first = results.variance.isel(mean=0, time=0)
    assert first > 10 * results.variance.isel(mean=0, time=9)


def test_it_can_be_shown(results):
    shown = shown_of(results)
    text = markdown(shown)
    assert "| theory |" in text and "from step 20 on" in text
    assert [len(figure.axes) for figure in shown.figures().values()] == [4]
