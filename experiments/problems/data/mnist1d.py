"""MNIST-1D: ten signals of one dimension, distorted at random (S. Greydanus, arXiv 2011.14439).

A template of 12 points is padded with a random number of zeros, stretched to 72 points, scaled and
translated; correlated noise fills the place where no template is; noise is added everywhere; a
linear slope shears the result, which is resampled at 40 points. Steps and constants are those of
the author's generator, https://github.com/greydanus/mnist1d (licence Apache 2.0); the random
numbers are not, since here each sample has a generator of its own.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from experiments.configuration.ranges import Seed
from experiments.problems.data.dataset import Dataset, classified

STRETCHED_POINTS = 72
POINTS = 40

PADDING = (36, 60)  # zeros after the template, both ends included
SCALE_RANGE = 0.4
MAX_SHIFT = 48  # not included
CORRELATED_NOISE = 0.25
CORRELATION_LENGTH = 2.0  # points
INDEPENDENT_NOISE = 0.02
SLOPE_RANGE = 0.75

# Of a million samples. The author normalizes by those of the data set at hand, with which a smaller
# data set would not be a prefix of a larger one.
MEAN = -0.0060
STANDARD_DEVIATION = 0.1547

DIGITS = [
    [5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5],
    [5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5],
    [5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5],
    [5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5],
    [5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5],
    [5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5],
    [5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5],
    [5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5],
    [5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5],
    [5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5],
]


def mnist1d(*, size: int = 500, seed: Seed = 0) -> Dataset:
    """Return `size` signals of MNIST-1D, in which the ten classes alternate.

    It needs no download and has no end: any number of samples can be made.

    Args:
        size: how many samples, at least 1. A smaller data set of the same seed is a prefix of a
            larger one.
        seed: of the random numbers.

    Returns:
        `inputs` of shape `(size, 40, 1)`, with mean 0 and standard deviation 1 over all samples
        there can be; `targets` of shape `(size, 10)`, one-hot.

    Raises:
        ValueError: `size` is out of range.
    """
    if size < 1:
        raise ValueError(f"mnist1d has at least 1 sample, got size={size}")
    labels = np.arange(size) % len(DIGITS)
    shapes = templates()
    signals = np.stack(
        [
            distorted(shapes[label], drawn(np.random.default_rng([seed, sample])))
            for sample, label in enumerate(labels)
        ]
    )
    inputs = (signals[:, :, None] - MEAN) / STANDARD_DEVIATION
    return classified(inputs, labels, len(DIGITS))


def templates() -> Float[np.ndarray, "10 12"]:
    """Return the shapes of the ten digits, each with standard deviation 1/6, from 0 back to 0."""
    shapes = np.asarray(DIGITS)
    return (shapes - shapes[:, :1]) / (6 * shapes.std(axis=1, keepdims=True))


class Distortion(NamedTuple):
    """The random numbers that make a sample of a template."""

    padding: int
    scale: float
    shift: int
    correlated: Float[np.ndarray, "72"]
    """The noise before it is smoothed."""
    independent: Float[np.ndarray, "72"]
    slope: float


def drawn(rng: np.random.Generator) -> Distortion:
    """Draw a distortion."""
    return Distortion(
        padding=int(rng.integers(*PADDING, endpoint=True)),
        scale=1 + SCALE_RANGE * rng.uniform(-0.5, 0.5),
        shift=int(rng.integers(MAX_SHIFT)),
        correlated=CORRELATED_NOISE * rng.normal(size=STRETCHED_POINTS),
        independent=INDEPENDENT_NOISE * rng.normal(size=STRETCHED_POINTS),
        slope=SLOPE_RANGE * rng.uniform(-0.5, 0.5),
    )


def distorted(template: Float[np.ndarray, "12"], distortion: Distortion) -> Float[np.ndarray, "40"]:
    """Make a sample of a template, not yet normalized."""
    padded = np.append(template, np.zeros(distortion.padding))
    signal = np.roll(distortion.scale * _resampled(padded, STRETCHED_POINTS), distortion.shift)

    places = np.linspace(0, len(padded) - 1, STRETCHED_POINTS)
    is_template = np.roll(places < len(template), distortion.shift)
    background = gaussian_filter1d(distortion.correlated, CORRELATION_LENGTH)
    noisy = np.where(is_template, signal, background) + distortion.independent

    sheared = noisy - distortion.slope * np.linspace(-0.5, 0.5, STRETCHED_POINTS)
    return _resampled(sheared, POINTS)


def _resampled(signal: Float[np.ndarray, " before"], points: int) -> Float[np.ndarray, " {points}"]:
    places = np.linspace(0, len(signal) - 1, points)
    return np.interp(places, np.arange(len(signal)), signal)
