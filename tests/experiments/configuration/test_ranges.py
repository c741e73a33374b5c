import pytest

from experiments.configuration.ranges import check_apart


def test_what_is_tuned_on_some_seeds_is_not_reported_on_them():
    check_apart("experiment", [1000], [0, 1])
    with pytest.raises(ValueError, match=r"\[1\] are in experiment.test_seeds too"):
        check_apart("experiment", [1, 2], [0, 1])
    with pytest.raises(ValueError, match="test_seeds is empty"):
        check_apart("experiment", [1], [])
    with pytest.raises(ValueError, match="tuning_seeds=-1 is out of range"):
        check_apart("experiment", [-1], [0])
