import jax
import numpy as np
import pytest
from flax import nnx

from experiments.problems.models.sequence import SequenceHead, as_sequences, sequence_shape


def test_images_are_read_row_by_row():
    images = jax.random.normal(jax.random.key(0), (2, 4, 3, 2))
    assert sequence_shape((4, 3, 2)) == (4, 6)
    sequences = as_sequences(images)
    for row in range(4):
        np.testing.assert_array_equal(sequences[:, row], images[:, row].reshape(2, 6))


def test_sequences_stay_what_they_are():
    sequences = jax.random.normal(jax.random.key(0), (2, 4, 3))
    assert sequence_shape((4, 3)) == (4, 3)
    np.testing.assert_array_equal(as_sequences(sequences), sequences)


@pytest.mark.parametrize(("outputs", "first"), [((3,), 4), ((1, 3), 4), ((2, 3), 3), ((5, 3), 0)])
def test_outputs_stand_at_the_last_positions(outputs, first):
    head = SequenceHead(5, 4, outputs, rngs=nnx.Rngs(0))
    features = jax.random.normal(jax.random.key(1), (2, 5, 4))
    expected = np.asarray(features)[:, first:] @ np.asarray(head.linear.kernel[...])
    np.testing.assert_allclose(head(features), expected.reshape(2, *outputs), atol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5)])
def test_what_is_no_sequence_is_refused(shape):
    with pytest.raises(ValueError, match="is no sequence: it must be"):
        sequence_shape(shape)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ((), r"output_shape=\(\) cannot be written"),
        ((2, 3, 4), r"output_shape=\(2, 3, 4\) cannot be written"),
        ((6, 3), "positions=6 .* from 1 to the length of the sequence, 5"),
        ((0, 3), "positions=0 "),
    ],
)
def test_outputs_that_do_not_fit_are_refused(outputs, message):
    with pytest.raises(ValueError, match=message):
        SequenceHead(5, 4, outputs, rngs=nnx.Rngs(0))
