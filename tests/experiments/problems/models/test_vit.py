import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.configuration.functions import Activation
from experiments.problems.models.vit import cut, vit

SIZES = {"width": 8, "depth": 1, "heads": 2, "expansion": 2, "activation": Activation.gelu}


def test_patches_are_squares_in_row_major_order():
    images = np.asarray(jax.random.normal(jax.random.key(0), (2, 4, 6, 3)))
    patches = np.asarray(cut(jnp.asarray(images), 2))
    assert patches.shape == (2, 6, 12)
    for row in range(2):
        for column in range(3):
            square = images[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            np.testing.assert_array_equal(patches[:, 3 * row + column], square.reshape(2, 12))


def test_patches_of_a_signal():
    signals = jax.random.normal(jax.random.key(0), (2, 6, 3))
    np.testing.assert_array_equal(cut(signals, 2)[:, 1], signals[:, 2:4].reshape(2, 6))


def test_every_patch_attends_to_all():
    model = vit((4, 4, 1), (2,), patch=2, **SIZES)
    params = jax.jit(model.init)(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (3, 4, 4, 1))
    slopes = jax.jit(jax.grad(lambda inputs: model.apply(params, inputs)[0].sum()))(inputs)
    assert (slopes[0] != 0).all() and (slopes[1:] == 0).all()


def test_only_the_positions_tell_patches_apart():
    model = vit((4, 4, 1), (2,), patch=2, **SIZES)
    params = jax.jit(model.init)(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (3, 4, 4, 1))
    rolled = jnp.roll(inputs, 2, axis=2)
    apply = jax.jit(model.apply)
    assert np.abs(apply(params, inputs) - apply(params, rolled)).max() > 1e-5
    params["trunk"]["positions"] = jnp.zeros((4, 8))
    np.testing.assert_allclose(apply(params, inputs), apply(params, rolled), atol=1e-5)


@pytest.mark.parametrize(("shape", "sides"), [((8, 9, 1), "8 x 9"), ((9, 1), "9")])
def test_patches_that_do_not_divide_are_refused(shape, sides):
    with pytest.raises(ValueError, match=f"patch=2 .* it must divide the sides {sides}"):
        vit(shape, (2,), patch=2, **SIZES)
