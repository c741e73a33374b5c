"""Parts of the parameters, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, PyTree

from rodflow._checks import check_count, shown

By = Callable[[jax.tree_util.KeyPath], str] | str


class Parts(NamedTuple):
    """The names of parts, True for the leaves of each, and their numbers of parameters."""

    names: tuple[str, ...]
    members: Bool[np.ndarray, "parts leaves"]
    sizes: tuple[int, ...]


def parts_of(params: PyTree, by: By | None, k: int) -> Parts:
    """Return the parts into which `by` groups the leaves, each of at least `k` parameters."""
    check_count("k", k, 1)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if by is None:
        of = [""] * len(leaves)
    elif by == "leaf":
        of = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    elif callable(by):
        of = [by(path) for path, _ in leaves]
    else:
        raise ValueError(
            f'`by` is {shown(by)}; it must be "leaf", a function from the path of a leaf to the '
            "name of its part, or None."
        )
    names = tuple(dict.fromkeys(of))
    members = np.array([[name == other for other in of] for name in names])
    each = np.array([leaf.size for _, leaf in leaves])
    sizes = tuple(int(size) for size in members @ each)
    for name, size in zip(names, sizes, strict=True):
        if k > size:
            whose = "" if by is None else f" of the part {name!r}"
            raise ValueError(
                f"`k` is {k}; it must be from 1 to the number of parameters{whose}, {size}."
            )
    return Parts(names, members, sizes)
