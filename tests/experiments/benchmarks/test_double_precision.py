import pytest

from experiments.benchmarks.double_precision import MODELS, cases


@pytest.mark.parametrize("name", list(cases()))
def test_models_that_do_not_apply_are_models(name):
    assert set(cases()[name].without) <= set(MODELS)
