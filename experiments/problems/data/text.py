"""A text to be predicted character by character: the Zen of Python, from Python itself."""

import codecs
import contextlib
import hashlib
import io

import jax
import jax.numpy as jnp
import numpy as np

from experiments.problems.data.dataset import Dataset
from experiments.problems.data.order import spread

SHA256 = "e250f274f33b9b621a04264025d50e5fb9b1f989f444d13bb373882e734e996f"


def text(*, size: int = 200, length: int = 16) -> Dataset:
    """Return `size` windows of the Zen of Python; the next character is to be predicted everywhere.

    The text is by Tim Peters (PEP 20, in the public domain), has 856 characters, 45 different ones,
    and comes with every Python, as the module `this`.

    Args:
        size: how many samples, from 1 to 856 - `length`, each starting at another character. The
            windows of a prefix start at places that lie evenly in the text, and overlap if there
            are many.
        length: how many characters a window has, from 1 to 855.

    Returns:
        `inputs` of shape `(size, length, 45)`, one-hot, the characters in the order of Unicode;
        `targets` of the same shape: the inputs one position later.

    Raises:
        ValueError: `size` or `length` is out of range.
    """
    characters = np.array(list(zen()))
    if not 1 <= length < len(characters):
        raise ValueError(
            f"text has windows of 1 to {len(characters) - 1} characters, got length={length}"
        )
    count = len(characters) - length
    if not 1 <= size <= count:
        raise ValueError(f"text has 1 to {count} samples of length={length}, got size={size}")
    alphabet, codes = np.unique(characters, return_inverse=True)
    starts = spread(count)[:size]
    windows = codes[starts[:, None] + np.arange(length + 1)]
    one_hot = jax.nn.one_hot(windows, len(alphabet), dtype=jnp.float32)
    return Dataset(inputs=one_hot[:, :-1], targets=one_hot[:, 1:])


def zen() -> str:
    """Return the Zen of Python.

    Raises:
        ValueError: this Python has another one.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # the module prints it when first imported
        import this
    characters = codecs.decode(this.s, "rot13")
    if hashlib.sha256(characters.encode()).hexdigest() != SHA256:
        raise ValueError(
            "text needs the Zen of Python, which the module `this` of this Python "
            "does not have in its usual words"
        )
    return characters
