import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from experiments.problems.data.patches import patches


def test_shapes_scale_and_labels():
    inputs, targets = patches(size=520, side=32)
    assert inputs.shape == (520, 32, 32, 3)
    assert targets.shape == (520, 2)
    assert inputs.dtype == targets.dtype == jnp.float32
    np.testing.assert_allclose([inputs.min(), inputs.max()], [-0.4, 0.6], atol=1e-6)
    assert abs(inputs.mean()) < 0.02
    np.testing.assert_array_equal(targets.argmax(1), np.arange(520) % 2)
    np.testing.assert_array_equal(targets.sum(1), 1)


def test_together_they_are_the_photographs():
    inputs, _ = patches(size=520, side=32)
    for label, photograph in enumerate(load_sample_images().images):
        cropped = photograph[: 13 * 32, : 20 * 32] / 255 - 0.4
        found = np.sort(np.asarray(inputs[label::2]).mean((1, 2, 3)))
        means = cropped.reshape(13, 32, 20, 32, 3).mean((1, 3, 4))
        np.testing.assert_allclose(found, np.sort(means.ravel()), atol=1e-5)
        np.testing.assert_allclose(inputs[label], cropped[:32, :32], atol=1e-6)


def test_a_prefix_looks_like_the_whole():
    few, all_of_them = patches(size=100, side=8).inputs, patches(size=520, side=8).inputs
    for label in (0, 1):
        mean, spread = all_of_them[label::2].mean(), all_of_them[label::2].std()
        assert abs(few[label::2].mean() - mean) < spread / 10
        np.testing.assert_allclose(few[label::2].std(), spread, rtol=0.1)


def test_smaller_images_are_averages():
    full, smaller = patches(size=20, side=32).inputs, patches(size=20, side=16).inputs
    assert smaller.shape == (20, 16, 16, 3)
    np.testing.assert_allclose(smaller[3, 2, 4], full[3, 4:6, 8:10].mean((0, 1)), atol=1e-6)


def test_a_smaller_size_is_a_prefix():
    np.testing.assert_array_equal(
        patches(size=7, side=8).inputs, patches(size=500, side=8).inputs[:7]
    )


@pytest.mark.parametrize("size", [0, 521])
def test_size_out_of_range(size):
    with pytest.raises(ValueError, match=f"1 to 520 samples, got size={size}"):
        patches(size=size, side=32)


def test_side_out_of_range():
    with pytest.raises(ValueError, match="divides 32, got side=5"):
        patches(size=10, side=5)
