"""Sequences to be sorted or copied, made from a seed.

The first half of the input is a random sequence of symbols, the second half as many times a further
symbol, the query. The answer is due at the queries, in one pass: a network has to carry what it has
read to where it writes, which is what attention and state-space models do.
"""

import functools
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from experiments.configuration.ranges import Positive, Seed, at_least
from experiments.problems.data.dataset import Dataset


def sorting(
    *,
    size: int = 500,
    length: Positive = 8,
    symbols: Annotated[int, at_least(2)] = 4,
    seed: Seed = 0,
) -> Dataset:
    """Return random sequences, to be written in ascending order.

    It needs no download: the sequences, which may hold a symbol many times, come from the seed.

    Args:
        size: how many samples, at least 1. A smaller data set of the same seed is a prefix of a
            larger one.
        length: symbols of a sequence; as many queries follow it.
        symbols: how many different ones there are.
        seed: of the sequences.

    Returns:
        `inputs` of shape `(size, 2 * length, symbols + 1)`, one-hot, the last feature being the
        query; `targets` of shape `(size, length, symbols)`, one-hot, at the last `length`
        positions.

    Raises:
        ValueError: `size` is out of range.
    """
    answer = functools.partial(np.sort, axis=1)
    return _task("sorting", answer, size, length, symbols, seed)


def copying(
    *,
    size: int = 500,
    length: Positive = 8,
    symbols: Annotated[int, at_least(2)] = 4,
    seed: Seed = 0,
) -> Dataset:
    """Return random sequences, to be written again as they are.

    The inputs are those of `sorting` for the same arguments, and so are all shapes.

    Args:
        size: how many samples, at least 1.
        length: symbols of a sequence; as many queries follow it.
        symbols: how many different ones there are.
        seed: of the sequences.

    Raises:
        ValueError: `size` is out of range.
    """
    return _task("copying", lambda sequences: sequences, size, length, symbols, seed)


def _task(
    name: str,
    answer: Callable[[Int[np.ndarray, "size length"]], Int[np.ndarray, "size length"]],
    size: int,
    length: int,
    symbols: int,
    seed: int,
) -> Dataset:
    if size < 1:
        raise ValueError(f"{name} has at least 1 sample, got size={size}")
    sequences = np.random.default_rng(seed).integers(symbols, size=(size, length))
    inputs = np.concatenate([sequences, np.full_like(sequences, symbols)], axis=1)
    return Dataset(
        jax.nn.one_hot(inputs, symbols + 1, dtype=jnp.float32),
        jax.nn.one_hot(answer(sequences), symbols, dtype=jnp.float32),
    )
