"""Colour patches of two photographs, from scikit-learn."""

import numpy as np
from jaxtyping import Shaped
from sklearn.datasets import load_sample_images

from experiments.problems.data.dataset import Dataset, classified
from experiments.problems.data.order import spread
from experiments.problems.data.pooling import pooled

PATCH_SIDE = 32
PIXEL_SCALE = 255.0
PIXEL_OFFSET = 0.4  # about the mean intensity, so that the inputs are roughly centred


def patches(*, size: int = 200, side: int = 16) -> Dataset:
    """Return the first `size` of 520 patches of two photographs; the label is the photograph.

    The photographs, 427 x 640 pixels of red, green and blue from 0 to 255, come with scikit-learn
    and need no download: a temple (china.jpg, by danielbuechele) and a dahlia (flower.jpg, by
    vultilion; both on Flickr, licence CC BY 2.0). Each is cut into 13 x 20 patches of 32 x 32
    pixels that do not overlap, the size of the images of CIFAR-10. scikit-learn reads them with
    Pillow, which Matplotlib brings.

    Args:
        size: how many samples, from 1 to 520. Temple and flower alternate, and the patches of a
            prefix lie evenly in their photographs.
        side: pixels along each side, a divisor of 32; below 32, averages over blocks of pixels.

    Returns:
        `inputs` of shape `(size, side, side, 3)`, `pixels / 255 - 0.4`, between -0.4 and 0.6;
        `targets` of shape `(size, 2)`, one-hot.

    Raises:
        ValueError: `size` or `side` is out of range.
    """
    cut = np.stack([_cut(photograph) for photograph in load_sample_images().images])
    photographs, each = cut.shape[:2]
    count = photographs * each
    if not 1 <= size <= count:
        raise ValueError(f"patches has 1 to {count} samples, got size={size}")
    labels = np.arange(size) % photographs
    images = pooled(cut[labels, spread(each)[np.arange(size) // photographs]], side)
    return classified(images / PIXEL_SCALE - PIXEL_OFFSET, labels, photographs)


def _cut(
    photograph: Shaped[np.ndarray, "height width channels"],
) -> Shaped[np.ndarray, "patches 32 32 channels"]:
    rows, columns = (length // PATCH_SIDE for length in photograph.shape[:2])
    whole = photograph[: rows * PATCH_SIDE, : columns * PATCH_SIDE]
    grid = whole.reshape(rows, PATCH_SIDE, columns, PATCH_SIDE, -1).swapaxes(1, 2)
    return grid.reshape(rows * columns, PATCH_SIDE, PATCH_SIDE, -1)
