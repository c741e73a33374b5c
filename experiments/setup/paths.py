"""Functions that a configuration names by their path, as in `optax.lion`."""

from collections.abc import Callable
from importlib import import_module


def named_by_path(key: str, path: str) -> Callable:
    """Import the function of a path.

    Args:
        key: The key of the configuration with its value, for the error.
        path: The module and the name of the function.

    Raises:
        ValueError: There is no such module, or no such function in it.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{key}: there is no {name} in {module} ({error})") from error
    if not callable(found):
        raise ValueError(f"{key}: {path} is no function")
    return found
