import jax.numpy as jnp
import numpy as np
import pytest
from hydra.utils import instantiate

from experiments.configuration import config
from experiments.configuration.config import load
from experiments.configuration.derive import schema

INPUT_SHAPES = {
    "digits": (8, 8, 1),
    "mnist": (14, 14, 1),
    "mnist1d": (40, 1),
    "patches": (16, 16, 3),
    "sorting": (16, 5),
    "copying": (16, 5),
    "text": (16, 45),
}


@pytest.mark.parametrize("name", INPUT_SHAPES)
def test_a_configuration_makes_its_data(name):
    chosen = load([f"data={name}"]).data
    assert chosen._target_.endswith(f".{name}")
    assert type(chosen) is schema(chosen._target_)
    inputs, targets = instantiate(chosen)
    assert inputs.shape == (chosen.size, *INPUT_SHAPES[name])
    assert inputs.dtype == targets.dtype == jnp.float32
    np.testing.assert_array_equal(targets.sum(-1), 1)


def test_cifar10_has_the_subset_of_the_papers():
    chosen = load(["data=cifar10"]).data
    assert (chosen.size, chosen.classes, chosen.side) == (1000, 4, 32)


def test_nothing_is_one_sample():
    inputs, targets = instantiate(load(["data=nothing"]).data)
    assert inputs.shape == targets.shape == (1, 1)


def test_every_data_set_has_been_tested():
    files = {path.stem for path in (config.CONFIGS / "data").glob("*.yaml")}
    assert files == {*INPUT_SHAPES, "cifar10", "nothing"}


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("mnist1d", "data.seed=-1", "data.seed=-1 is out of range: it must be from 0 to"),
        ("mnist1d", "data.seed=4294967296", "data.seed=4294967296 is out of range"),
        ("sorting", "data.seed=-1", "data.seed=-1 is out of range"),
        ("sorting", "data.length=0", "data.length=0 is out of range: it must be at least 1"),
        ("copying", "data.symbols=1", "data.symbols=1 is out of range: it must be at least 2"),
        ("text", "+data.seed=0", "data.seed: no such key; the keys here are size, length"),
        ("cifar10", "data.folder=???", "data.folder has no value"),
    ],
)
def test_values_out_of_range_are_named(name, override, message):
    with pytest.raises(ValueError, match=message):
        load([f"data={name}", override])
