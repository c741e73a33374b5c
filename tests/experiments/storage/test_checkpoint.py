import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.storage import checkpoint

STATE = {
    "single": jnp.array([1.0, jnp.nan, -0.0]),
    "half": jnp.array([1.5, 2.5], jnp.bfloat16),
    "count": jnp.array(7, jnp.int32),
    "none": None,
}


@pytest.fixture
def path(tmp_path):
    checkpoint.save(tmp_path / "checkpoint", STATE, {"done": 3})
    return tmp_path / "checkpoint"


def test_every_bit_comes_back(path):
    state, header = checkpoint.load(path, jax.eval_shape(lambda: STATE))
    assert header["done"] == 3
    assert jax.tree.structure(state) == jax.tree.structure(STATE)
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(STATE), strict=True):
        assert one.dtype == other.dtype
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_damage_is_noticed_and_the_file_left_alone(path, damage):
    content = path.read_bytes()
    damaged = {
        "cut": content[:-5],
        "flip": content[:-1] + bytes([content[-1] ^ 1]),
        "empty": b"",
        "text": b"hello\nworld",
    }[damage]
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"checkpoint is damaged; delete it"):
        checkpoint.load(path, STATE)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    "other",
    [
        {**STATE, "single": jnp.zeros(4)},
        {**STATE, "count": jnp.array(0.0)},
        {**STATE, "none": jnp.array(0.0)},
    ],
)
def test_a_state_of_another_structure_is_refused(path, other):
    with pytest.raises(ValueError, match=r"checkpoint is the checkpoint of another kind of run"):
        checkpoint.load(path, other)
