"""Numbers out of range, refused in one sentence where their value is known."""

import jax
import numpy as np
from jax.core import Tracer


def check_at_least(name: str, value: jax.typing.ArrayLike, least: int) -> None:
    """**Raises** `ValueError` for a value below `least`; a traced one passes."""
    if not isinstance(value, Tracer) and np.any(np.asarray(value) < least):
        raise ValueError(f"`{name}` is {value}; it must be at least {least}.")
