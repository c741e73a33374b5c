"""Smaller images, so that a study of a network on them is cheap."""

import numpy as np
from jaxtyping import Shaped


def pooled(
    images: Shaped[np.ndarray, "samples height width channels"], side: int
) -> Shaped[np.ndarray, "samples {side} {side} channels"]:
    """Average square images over square blocks of pixels, so that `side` x `side` are left.

    Raises:
        ValueError: `side` does not divide the side of the images.
    """
    samples, full, _, channels = images.shape
    if side < 1 or full % side:
        raise ValueError(
            f"images of {full} x {full} pixels need a side that divides {full}, got side={side}"
        )
    blocks = images.reshape(samples, side, full // side, side, full // side, channels)
    return blocks.mean(axis=(2, 4))
