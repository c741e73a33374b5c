"""Handwritten digits of 8 x 8 pixels, from scikit-learn."""

import importlib.util
from pathlib import Path

import numpy as np

from experiments.problems.data.dataset import Dataset, classified

PIXEL_SCALE = 16.0
PIXEL_OFFSET = 0.3  # about the mean intensity, so that the inputs are roughly centred


def digits(*, size: int = 500) -> Dataset:
    """Return the first `size` of the 1797 handwritten digits that come with scikit-learn.

    The images are 8 x 8 pixels of 0 to 16, the test set of the UCI "Optical Recognition of
    Handwritten Digits" data (E. Alpaydin and C. Kaynak, 1998; licence CC BY 4.0). They are real
    scans, written by 13 people, and need no download.

    Args:
        size: how many samples, from 1 to 1797. They are in the order of the source, in which the
            ten classes alternate, so that every prefix is nearly balanced.

    Returns:
        `inputs` of shape `(size, 8, 8, 1)`, `pixels / 16 - 0.3`, between -0.3 and 0.7; `targets` of
        shape `(size, 10)`, one-hot.

    Raises:
        ValueError: `size` is out of range.
    """
    rows = np.loadtxt(_file(), delimiter=",")
    if not 1 <= size <= len(rows):
        raise ValueError(f"digits has 1 to {len(rows)} samples, got size={size}")
    images = rows[:size, :-1].reshape(size, 8, 8, 1)
    return classified(images / PIXEL_SCALE - PIXEL_OFFSET, rows[:size, -1].astype(int), 10)


def _file() -> Path:
    """Return the file that `sklearn.datasets.load_digits` reads; to import that takes a second."""
    package = importlib.util.find_spec("sklearn")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
