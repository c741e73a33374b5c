import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from experiments.problems.data.mnist1d import Distortion, distorted, drawn, mnist1d, templates

NOTHING = Distortion(
    padding=60, scale=1.0, shift=0, correlated=np.zeros(72), independent=np.zeros(72), slope=0.0
)
FLAT = np.zeros(12)


def places(points):
    """Where the samples of 40 points lie among the 72."""
    return np.interp(np.linspace(0, 71, 40), np.arange(72), points)


def test_shapes_scale_and_labels():
    inputs, targets = map(np.asarray, mnist1d(size=2000, seed=0))
    assert inputs.shape == (2000, 40, 1)
    assert targets.shape == (2000, 10)
    assert inputs.dtype == targets.dtype == jnp.float32
    np.testing.assert_allclose([inputs.mean(), inputs.std()], [0, 1], atol=0.02)
    np.testing.assert_array_equal(targets.argmax(1), np.arange(2000) % 10)
    np.testing.assert_array_equal(targets.sum(1), 1)


def test_templates_are_normalized_and_start_at_zero():
    np.testing.assert_array_equal(templates()[:, 0], 0)
    np.testing.assert_allclose(templates().std(1), 1 / 6)


@pytest.mark.parametrize("digit", range(10))
def test_without_noise_the_template_is_recovered(digit):
    template = templates()[digit]
    expected = places(np.append(template, np.zeros(60)))
    np.testing.assert_allclose(distorted(template, NOTHING), expected, atol=1e-12)


@pytest.mark.parametrize("padding", [36, 48])
def test_less_padding_stretches_the_template(padding):
    template = templates()[0]
    stretched = distorted(template, NOTHING._replace(padding=padding))
    at = np.linspace(0, 11 + padding, 40)
    expected = np.interp(at, np.arange(12), template, right=0)
    # Between the two it was resampled at 72 points, which cuts its corners a little.
    np.testing.assert_allclose(stretched, expected, atol=0.07)


def test_scale_shift_and_slope():
    template = templates()[6]
    padded = np.append(template, np.zeros(60))
    moved = distorted(template, NOTHING._replace(scale=1.2, shift=20, slope=0.3))
    expected = np.zeros(72)
    expected[20:32] = 1.2 * padded[:12]
    np.testing.assert_allclose(moved, places(expected) - np.linspace(-0.15, 0.15, 40), atol=1e-12)


def test_correlated_noise_is_where_the_template_is_not():
    noise = np.random.default_rng(0).normal(size=72)
    expected = gaussian_filter(noise, 2)
    expected[30:42] = 0
    made = distorted(FLAT, NOTHING._replace(shift=30, correlated=noise))
    np.testing.assert_allclose(made, places(expected), atol=1e-12)


def test_independent_noise_is_everywhere():
    noise = np.random.default_rng(0).normal(size=72)
    made = distorted(FLAT, NOTHING._replace(independent=noise))
    np.testing.assert_allclose(made, places(noise), atol=1e-12)


def test_distortions_fill_their_ranges():
    rng = np.random.default_rng(0)
    padding, scale, shift, correlated, independent, slope = map(
        np.array, zip(*(drawn(rng) for _ in range(2000)), strict=True)
    )
    assert (padding.min(), padding.max()) == (36, 60)
    assert (shift.min(), shift.max()) == (0, 47)
    np.testing.assert_allclose([scale.min(), scale.max()], [0.8, 1.2], atol=0.01)
    np.testing.assert_allclose([slope.min(), slope.max()], [-0.375, 0.375], atol=0.01)
    np.testing.assert_allclose([correlated.std(), independent.std()], [0.25, 0.02], rtol=0.02)


def test_a_smaller_size_is_a_prefix():
    np.testing.assert_array_equal(
        mnist1d(size=7, seed=1).inputs, mnist1d(size=50, seed=1).inputs[:7]
    )


def test_the_seed_decides():
    first, again, other = (np.asarray(mnist1d(size=20, seed=seed).inputs) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_size_out_of_range():
    with pytest.raises(ValueError, match="at least 1 sample, got size=0"):
        mnist1d(size=0, seed=0)
