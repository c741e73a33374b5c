import pytest

from experiments.configuration.config import load
from experiments.configuration.functions import Activation

AT_LEAST_ONE = {
    "cnn": ["width", "depth", "kernel", "stride"],
    "resnet": ["width", "stages", "blocks", "kernel", "stem_stride", "groups"],
    "vit": ["patch", "width", "depth", "heads", "expansion"],
    "transformer": ["width", "depth", "heads", "expansion"],
    "lstm": ["width", "depth"],
    "mamba": ["width", "depth", "expansion", "state", "kernel"],
}


@pytest.mark.parametrize(
    ("name", "key"), [(n, key) for n, keys in AT_LEAST_ONE.items() for key in keys]
)
def test_numbers_below_one_are_named(name, key):
    message = rf"model\.{key}=0 is out of range: it must be at least 1"
    with pytest.raises(ValueError, match=message):
        load([f"model={name}", f"model.{key}=0"])


def test_gain_is_above_zero():
    with pytest.raises(ValueError, match=r"model.gain=0\.0 is out of range: it must be above 0"):
        load(["model=cnn", "model.gain=0"])


@pytest.mark.parametrize("name", ["cnn", "resnet", "vit", "transformer"])
def test_activations_are_smooth_unless_asked_otherwise(name):
    assert load([f"model={name}"]).model.activation is Activation.gelu
    relu = load([f"model={name}", "model.activation=relu"])
    assert relu.model.activation is Activation.relu


@pytest.mark.parametrize("name", ["lstm", "mamba"])
def test_unknown_keys_are_named(name):
    with pytest.raises(ValueError, match=r"model.activation: no such key; the keys here are width"):
        load([f"model={name}", "+model.activation=relu"])
