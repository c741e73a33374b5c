import jax.numpy as jnp
import numpy as np
import pytest

from experiments.problems.data.sequences import copying, sorting


@pytest.mark.parametrize("task", [sorting, copying])
def test_shapes_and_queries(task):
    inputs, targets = task(size=50, length=6, symbols=4, seed=0)
    assert inputs.shape == (50, 12, 5)
    assert targets.shape == (50, 6, 4)
    assert inputs.dtype == targets.dtype == jnp.float32
    np.testing.assert_array_equal(inputs.sum(2), 1)
    np.testing.assert_array_equal(targets.sum(2), 1)
    np.testing.assert_array_equal(np.isin(inputs, [0, 1]), True)
    assert inputs[:, :6].argmax(2).max() == 3  # no query among the symbols
    np.testing.assert_array_equal(inputs[:, 6:].argmax(2), 4)


def test_answers():
    inputs, sorted_ones = sorting(size=50, length=6, symbols=4, seed=0)
    same_inputs, copies = copying(size=50, length=6, symbols=4, seed=0)
    sequences = inputs[:, :6].argmax(2)
    np.testing.assert_array_equal(inputs, same_inputs)
    np.testing.assert_array_equal(sorted_ones.argmax(2), np.sort(sequences, axis=1))
    np.testing.assert_array_equal(copies.argmax(2), sequences)


def test_symbols_are_equally_frequent():
    inputs, _ = copying(size=1000, length=8, symbols=5, seed=3)
    np.testing.assert_allclose(inputs[:, :8].mean((0, 1)), [0.2] * 5 + [0], atol=0.02)


@pytest.mark.parametrize("task", [sorting, copying])
def test_a_smaller_size_is_a_prefix(task):
    few, many = (
        task(size=7, length=5, symbols=3, seed=2),
        task(size=50, length=5, symbols=3, seed=2),
    )
    np.testing.assert_array_equal(few.inputs, many.inputs[:7])
    np.testing.assert_array_equal(few.targets, many.targets[:7])


def test_the_seed_decides():
    first, again, other = (sorting(size=20, length=5, symbols=3, seed=s).inputs for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("task", [sorting, copying])
def test_size_out_of_range(task):
    with pytest.raises(ValueError, match=f"{task.__name__} has at least 1 sample, got size=0"):
        task(size=0, length=5, symbols=3, seed=0)
