import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks.memory import allotted, compiled


def test_arguments_that_are_given_away_make_room_for_results():
    x = jnp.ones(1000)
    kept = jax.jit(lambda x: x + 1).lower(x).compile()
    assert allotted(kept) == 8000
    assert allotted(kept, arguments=False) == 4000
    assert allotted(compiled(lambda x: x + 1, x)) == 4000


def test_temporary_arrays_count():
    square = jnp.ones((500, 500))  # a million bytes, and as many for the product
    program = jax.jit(lambda x: jnp.sort(x @ x)[0].sum()).lower(square).compile()
    assert allotted(program) == pytest.approx(2e6, rel=0.01)
