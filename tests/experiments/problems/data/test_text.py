import sys

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.problems.data import text as module
from experiments.problems.data.text import text, zen


def written(one_hot):
    alphabet = np.array(sorted(set(zen())))
    return ["".join(alphabet[codes]) for codes in np.asarray(one_hot).argmax(-1)]


def test_shapes():
    inputs, targets = text(size=200, length=16)
    assert inputs.shape == targets.shape == (200, 16, 45)
    assert inputs.dtype == targets.dtype == jnp.float32
    np.testing.assert_array_equal(inputs.sum(2), 1)
    np.testing.assert_array_equal(targets.sum(2), 1)


def test_targets_are_the_inputs_one_position_later():
    inputs, targets = text(size=200, length=16)
    np.testing.assert_array_equal(targets[:, :-1], inputs[:, 1:])
    for before, after in zip(written(inputs), written(targets), strict=True):
        assert before + after[-1] in zen()


def test_all_windows_are_different_places_of_the_text():
    inputs, targets = text(size=840, length=16)
    found = [a + b[-1] for a, b in zip(written(inputs), written(targets), strict=True)]
    assert sorted(found) == sorted(zen()[i : i + 17] for i in range(840))
    assert found[0] == "The Zen of Python"


def test_a_prefix_covers_the_text():
    starts = sorted(zen().index(window) for window in written(text(size=50, length=16).inputs))
    assert np.diff(starts, prepend=0, append=840).max() < 50


def test_a_smaller_size_is_a_prefix():
    np.testing.assert_array_equal(
        text(size=7, length=9).inputs, text(size=200, length=9).inputs[:7]
    )


@pytest.mark.parametrize("size", [0, 841])
def test_size_out_of_range(size):
    with pytest.raises(ValueError, match=f"1 to 840 samples of length=16, got size={size}"):
        text(size=size, length=16)


@pytest.mark.parametrize("length", [0, 856])
def test_length_out_of_range(length):
    with pytest.raises(ValueError, match=f"windows of 1 to 855 characters, got length={length}"):
        text(size=1, length=length)


def test_nothing_is_printed(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    assert zen().startswith("The Zen of Python, by Tim Peters\n\nBeautiful is better than ugly.\n")
    assert capsys.readouterr().out == ""


def test_another_text_is_refused(monkeypatch):
    monkeypatch.setattr(module, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match="Zen of Python"):
        text(size=1, length=1)
