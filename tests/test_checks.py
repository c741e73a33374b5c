"""Numbers that arguments may have, as the functions that take them say it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow


def tracker(**options):
    return rodflow.Tracker(lambda w: jnp.sum(w**2), optax.sgd(0.1), {}, **options)


@pytest.mark.parametrize("value", [1, 2.5, np.array([1, 3]), jnp.inf])
def test_values_in_range_pass(value):
    rodflow.scale_by_rf_rms(batch_size=value)


@pytest.mark.parametrize("value", [0, 0.5, np.array([1, 0]), np.nan])
def test_values_below_and_none_at_all_are_named(value):
    with pytest.raises(ValueError, match=r"`batch_size` is .*; it must be at least 1"):
        rodflow.scale_by_rf_rms(batch_size=value)


@pytest.mark.parametrize("name", ["every", "twins"])
def test_counts_have_a_least_value(name):
    least = {"every": 1, "twins": 0}[name]
    tracker(**{name: least})
    with pytest.raises(ValueError, match=f"`{name}` is {least - 1}; it must be at least {least}"):
        tracker(**{name: least - 1})


def test_traced_values_pass():
    @jax.jit
    def traced(value):
        rodflow.scale_by_rf_rms(batch_size=value)
        return value

    assert traced(0) == 0
