import pytest
from hydra import compose, initialize_config_dir

from experiments.configuration.config import CONFIGS, load, register
from experiments.configuration.errors import USER_ERRORS, key_below_null, one_line


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optimizer=lion", "optimizer=lion: no such optimizer; choose one of adam, adam_2k, "),
        ("optimzer=gd", "optimzer: no such key; did you mean optimizer? the keys here are opti"),
        ("model.wdith=3", "model.wdith: no such key; did you mean model.width? the keys in model"),
        ("optimizer.b1=0", "optimizer.b1: no such key; the keys in optimizer are name, learning"),
        (
            "optimizer.hyperparameters.mu=0",
            "optimizer.hyperparameters.mu: no such key; the keys in optimizer.hyperparameters are "
            "b1, b2; one more is added by +optimizer.hyperparameters.mu=VALUE",
        ),
        (
            "experiment=warmup",
            "experiment: not a key of this command; `python -m experiments study` takes experiment",
        ),
        ("model=null", "a group takes the name of a file, as in optimizer=adam, not null"),
        ("+seeds=1", "seeds: no such key; the keys here are optimizer, "),
        ("model.width=wide", "model.width: Value 'wide' of type 'str' could not be converted to I"),
        ("model.activation=sin", "model.activation: Invalid value 'sin', expected one of [tanh, "),
        ("num_steps", "num_steps: cannot be read (missing EQUAL at '<EOF>'); write KEY=VALUE"),
        ("kappa=[", "kappa=[: cannot be read (no viable alternative"),
        ("kappa=${nothing}", "kappa: Interpolation key 'nothing' not found"),
        ("twins=-1", "twins=-1 is out of range: it must be at least 0"),
    ],
)
def test_a_mistake_is_one_line_that_names_it_and_what_is_allowed(override, line):
    with pytest.raises(USER_ERRORS) as caught:
        load([override])
    text = one_line(caught.value)
    assert text.startswith(line)
    assert "\n" not in text


def test_a_key_below_one_that_is_null_is_named_and_other_assertions_are_bugs():
    with pytest.raises(AssertionError) as caught:
        load(["grid.seeds=[1]"])
    assert key_below_null(caught.value) == "grid.seeds"
    with pytest.raises(AssertionError) as caught:
        assert not load
    assert key_below_null(caught.value) is None


def test_schemas_are_not_offered():
    with pytest.raises(USER_ERRORS) as caught:
        load(["optimizer=lion"])
    assert "schema" not in one_line(caught.value)


def test_a_file_is_named():
    error = NotADirectoryError(20, "Not a directory", "/a/b")
    assert one_line(error) == "cannot use /a/b: Not a directory"


def test_a_group_that_has_to_be_named_is_told_with_what_there_is():
    register()
    with (
        initialize_config_dir(str(CONFIGS), version_base="1.3"),
        pytest.raises(USER_ERRORS) as caught,
    ):
        compose("study")
    text = one_line(caught.value)
    assert text.startswith("experiment has no value; choose one of beyond_networks, coevolution")
    assert "schema" not in text
