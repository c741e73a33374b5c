import pytest

from experiments.configuration.config import composed, load, load_study, load_sweep
from experiments.configuration.errors import USER_ERRORS, one_line, reported_in_one_line


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optimizer=lion", "optimizer=lion: no such optimizer; choose one of adam, adam_2k, "),
        ("optimzer=gd", "optimzer: no such key; did you mean optimizer? the keys here are loss"),
        ("lr=.1", "lr: no such key; did you mean optimizer.learning_rate? the keys here are loss"),
        ("width=8", "width: no such key; did you mean model.width? the keys here are loss"),
        ("model.wdith=3", "model.wdith: no such key; did you mean model.width? the keys in model"),
        ("optimizer.c=0", "optimizer.c: no such key; the keys in optimizer are name, learning"),
        ("optimizer.b1=0", "optimizer.b1: no such key; did you mean optimizer.hyperparameters.b1?"),
        (
            "optimizer.hyperparameters.mu=0",
            "optimizer.hyperparameters.mu: no such key; the keys in optimizer.hyperparameters are "
            "b1, b2; one more is added by +optimizer.hyperparameters.mu=VALUE",
        ),
        ("study=warmup", "study: no such key here; `python -m experiments study` takes study"),
        ("model=null", "a group takes the name of a file, as in optimizer=adam, not null"),
        ("+seeds=1", "seeds: no such key; the keys here are loss, "),
        ("model.width=wide", "model.width: Value 'wide' of type 'str' could not be converted to I"),
        ("model.activation=sin", "model.activation: Invalid value 'sin', expected one of [tanh, "),
        ("model=[1,[2]]", "model=[1,[2]]: a group takes the name of a file, as in optimizer=adam"),
        ("+=1", "+=1: it names no key; write KEY=VALUE"),
        ("num_steps", "num_steps: cannot be read (missing EQUAL at '<EOF>'); write KEY=VALUE"),
        ("kappa=[", "kappa=[: cannot be read (no viable alternative"),
        ("kappa=${nothing}", "kappa: Interpolation key 'nothing' not found"),
        ("twins=-1", "twins=-1 is out of range: it must be at least 0"),
        ("warmup=2147483648", "warmup=2147483648 is out of range: it must be below 2^31"),
        ("every=2147483648", "every=2147483648 is out of range: it must be below 2^31"),
    ],
)
def test_a_mistake_is_one_line_that_names_it_and_what_is_allowed(override, line):
    with pytest.raises(USER_ERRORS) as caught:
        load([override])
    text = one_line(caught.value)
    assert text.startswith(line)
    assert "\n" not in text


def test_a_value_that_cannot_be_found_does_not_hide_a_key_that_does_not_exist():
    with pytest.raises(USER_ERRORS) as caught:
        load(["seed=${oc.env:NO_SUCH_VARIABLE}", "lr=1"])
    assert one_line(caught.value).startswith("lr: no such key; did you mean optimizer.learning_rat")


@pytest.mark.parametrize(
    ("compose", "overrides", "key", "command"),
    [
        (load, ["grid.seeds=[1]"], "grid", "study"),
        (load, ["study.steps=1"], "study", "study"),
        (load, ["sweep.axes=[]"], "sweep", "sweep"),
        (load_sweep, ["grid.seeds=[1]"], "grid", "study"),
        (load_study, ["study=tiny", "model.width=2"], "model", "run"),
        (load_study, ["study=tiny", "seed=2"], "seed", "run"),
        (load_study, ["study=warmup", "num_steps=2"], "num_steps", "run"),
    ],
)
def test_a_key_of_another_command_is_told_with_that_command(compose, overrides, key, command):
    with pytest.raises(USER_ERRORS) as caught:
        compose(overrides)
    text = one_line(caught.value)
    assert text.startswith(f"{key}: no such key; the keys here are ")
    assert text.endswith(f"`python -m experiments {command}` takes {key}")


def test_a_key_of_the_same_command_is_not_told_to_be_of_another():
    with pytest.raises(USER_ERRORS) as caught:
        load_study(["study=tiny", "study.steps=1"])
    assert one_line(caught.value).endswith("twins, kappa, grid")


def test_schemas_are_not_offered():
    with pytest.raises(USER_ERRORS) as caught:
        load(["optimizer=lion"])
    assert "schema" not in one_line(caught.value)


def test_a_file_is_named():
    error = NotADirectoryError(20, "Not a directory", "/a/b")
    assert one_line(error) == "cannot use /a/b: Not a directory"


def test_a_group_that_has_to_be_named_is_told_with_what_there_is():
    with pytest.raises(USER_ERRORS) as caught:
        composed("study", [])
    text = one_line(caught.value)
    assert text.startswith("study has no value; choose one of beyond_networks, coevolution")
    assert "schema" not in text


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.\nmore"), "memory"),
        (RuntimeError("INTERNAL: Error dispatching: Out of memory allocating 8 bytes."), "memory"),
        (MemoryError("Unable to allocate 32.0 GiB for an array"), "memory"),
        (RuntimeError('Could not detect "srun", are you on a slurm cluster?'), "Slurm"),
    ],
)
def test_what_the_machine_lacks_is_one_line_with_a_remedy(error, line):
    with pytest.raises(SystemExit) as caught, reported_in_one_line():
        raise error
    text = str(caught.value)
    assert text.startswith("error: ") and line in text and "\n" not in text


def test_a_bug_keeps_its_traceback():
    with pytest.raises(RuntimeError, match="something else"), reported_in_one_line():
        raise RuntimeError("something else")
