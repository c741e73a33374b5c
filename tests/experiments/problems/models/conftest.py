import jax
import pytest


@pytest.fixture(autouse=True)
def compiled_quickly():
    """Every program of these tests runs once or twice: compiling it is what takes the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
