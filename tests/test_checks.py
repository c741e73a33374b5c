import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow._checks import check_at_least, check_count


@pytest.mark.parametrize("value", [1, 2.5, np.array([1, 3]), jnp.inf])
def test_values_in_range_pass(value):
    check_at_least("every", value, 1)


@pytest.mark.parametrize("value", [0, 0.5, np.array([1, 0]), np.nan])
def test_values_below_and_none_at_all_are_named(value):
    with pytest.raises(ValueError, match=r"`every` is .*; it must be at least 1"):
        check_at_least("every", value, 1)


def test_counts_are_integers():
    for value in (1, np.int64(3), jnp.array(2)):
        check_count("every", value, 1)
    with pytest.raises(ValueError, match=r"`every` is 2\.5; it must be an integer"):
        check_count("every", 2.5, 1)
    with pytest.raises(ValueError, match="`every` is 0; it must be at least 1"):
        check_count("every", 0, 1)


def test_traced_values_pass():
    @jax.jit
    def traced(value):
        check_at_least("every", value, 1)
        check_count("every", value, 1)
        return value

    assert traced(0) == 0
