import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from experiments.configuration import config
from experiments.configuration.derive import descriptions, schema
from experiments.configuration.functions import Activation

MODEL = '''
"""A model of the user."""

from collections.abc import Sequence
from typing import Annotated

import this_package_does_not_exist

from experiments.configuration.functions import Activation
from experiments.configuration.ranges import at_least


def build(
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    width: Annotated[int, at_least(1)] = 3,
    rates: Sequence[float] = (0.5, 1),
    activation: Activation = Activation.tanh,
    name: str,
):
    """Build a model.

    Args:
        width: of a layer,
            which is hidden.
        name: of the model.

    Raises:
        ValueError: always.
    """


def strange(*, width: Nothing = 3):
    """Build another one."""
'''
FILE = "# Mine.\ndefaults: [mine_schema, _self_]\n_target_: models_of_mine.build\nname: it\n"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A clone to which a Python file and a YAML file were added."""
    (tmp_path / "models_of_mine.py").write_text(MODEL)
    shutil.copytree(config.CONFIGS, tmp_path / "configs")
    (tmp_path / "configs/model/mine.yaml").write_text(FILE)
    monkeypatch.setattr(config, "CONFIGS", tmp_path / "configs")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_schema_has_the_keys_types_and_defaults_of_the_signature(mine):
    kind = schema("models_of_mine.build")
    assert [entry.name for entry in fields(kind)] == [
        "_target_",
        "width",
        "rates",
        "activation",
        "name",
    ]
    made = kind()
    assert (made.width, made.activation, made.name) == (3, Activation.tanh, "???")
    assert kind is schema("models_of_mine.build")


def test_one_python_file_and_one_yaml_file_add_a_model(mine):
    chosen = config.load(["model=mine", "model.activation=relu"]).model
    assert (chosen.width, chosen.rates, chosen.name) == (3, [0.5, 1.0], "it")
    assert chosen.activation is Activation.relu
    with pytest.raises(ValueError, match=r"model\.width=0 is out of range: it must be at least 1"):
        config.load(["model=mine", "model.width=0"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("models_of_mine.strange", "Nothing uses Nothing, which is not known"),
        ("models_of_mine.absent", "there is no absent in models_of_mine"),
        ("no_such.module.build", "there is no module no_such.module"),
    ],
)
def test_a_builder_that_cannot_be_understood_is_named(mine, target, message):
    with pytest.raises(ValueError, match=message):
        schema(target)


def test_fields_of_a_class_are_keys_and_its_constants_are_not():
    kind = schema("experiments.studies.warmup.study.Warmup")
    names = [entry.name for entry in fields(kind)]
    assert names[:3] == ["_target_", "problem", "train"] and "title" not in names


def test_descriptions_come_from_the_docstring(mine):
    told = descriptions(schema("models_of_mine.build").__doc__)
    assert told == {"width": "of a layer, which is hidden.", "name": "of the model."}
    assert descriptions(None) == descriptions("Nothing of this kind.") == {}


def built():
    for group in config.BUILT:
        for path in sorted((config.CONFIGS / group).glob("*.yaml")):
            if target := config.target_of(path):
                yield target


@pytest.mark.parametrize("target", list(built()))
def test_every_key_is_described(target):
    kind = schema(target)
    told = descriptions(kind.__doc__)
    assert [x.name for x in fields(kind) if not x.name.startswith("_") and x.name not in told] == []


def test_nothing_is_imported_that_takes_a_while():
    code = "import sys; from experiments.configuration import config; config.load(['model=cnn'])"
    code += "; print([name for name in ('jax', 'flax', 'xarray') if name in sys.modules])"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
