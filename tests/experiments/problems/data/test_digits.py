import jax.numpy as jnp
import numpy as np
import pytest

from experiments.problems.data.digits import digits


def test_shapes_scale_and_labels():
    inputs, targets = digits(size=500)
    assert inputs.shape == (500, 8, 8, 1)
    assert targets.shape == (500, 10)
    assert inputs.dtype == targets.dtype == jnp.float32
    np.testing.assert_allclose([inputs.min(), inputs.max()], [-0.3, 0.7], rtol=1e-6)
    np.testing.assert_array_equal(targets.sum(1), 1)
    assert targets.sum(0).min() > 40  # nearly balanced
    np.testing.assert_array_equal(targets[:10].argmax(1), np.arange(10))


def test_a_smaller_size_is_a_prefix():
    np.testing.assert_array_equal(digits(size=7).inputs, digits(size=500).inputs[:7])


@pytest.mark.parametrize("size", [0, 1798])
def test_size_out_of_range(size):
    with pytest.raises(ValueError, match=f"1 to 1797 samples, got size={size}"):
        digits(size=size)


def test_the_file_is_what_scikit_learn_reads():
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    inputs, targets = digits(size=1797)
    images = (pixels / 16 - 0.3).astype(np.float32).reshape(inputs.shape)
    np.testing.assert_array_equal(inputs, images)
    np.testing.assert_array_equal(targets.argmax(1), labels)
