import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.configuration.functions import Activation
from experiments.problems.models.transformer import transformer

SIZES = {"width": 8, "depth": 2, "heads": 2, "expansion": 2, "activation": Activation.gelu}


def test_no_position_sees_later_inputs():
    model = transformer((6, 3), (6, 2), **SIZES)
    params = jax.jit(model.init)(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (1, 6, 3))
    slopes = jax.jit(jax.jacobian(lambda inputs: model.apply(params, inputs)[0]))(inputs)
    seen = np.abs(slopes[:, :, 0]).max((1, 3))  # (position of an output, position of an input)
    assert (seen[np.tril_indices(6)] > 0).all()
    assert (seen[np.triu_indices(6, 1)] == 0).all()


def test_one_answer_stands_at_the_last_position():
    one, all_of_them = (transformer((6, 3), shape, **SIZES) for shape in [(2,), (6, 2)])
    params = jax.jit(one.init)(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (4, 6, 3))
    last, everywhere = (jax.jit(model.apply)(params, inputs) for model in (one, all_of_them))
    np.testing.assert_allclose(last, everywhere[:, -1], atol=1e-6)


def test_positions_are_told_apart():
    model = transformer((6, 3), (2,), **SIZES)
    params = jax.jit(model.init)(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (1, 6, 3))
    swapped = inputs[:, jnp.array([1, 0, 2, 3, 4, 5])]
    apply = jax.jit(model.apply)
    difference = apply(params, inputs) - apply(params, swapped)
    assert np.abs(difference).max() > 1e-4


def test_more_positions_than_the_sequence_has_are_refused():
    with pytest.raises(ValueError, match=r"positions=7 .* from 1 to the length .*, 6"):
        transformer((6, 3), (7, 2), **SIZES)
