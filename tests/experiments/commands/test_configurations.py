"""Random configurations: each command ends in success or in one line, and leaves no empty folder.

They are drawn from a seed: right and wrong names, values, groups and keys of other commands, of
other types, extreme, or no configuration at all. Most of them are composed, checked and built, but
not run; the last in each twenty runs two steps of a tiny problem.
"""

import random

import jax
import pytest

from experiments import problems
from experiments.commands import run, search, study, sweep
from experiments.configuration.config import CONFIGS
from experiments.runs import grid, single, workers
from experiments.runs import sweep as sweeps
from experiments.setup import flows, optimizers
from experiments.studies import running

COMMANDS = {"run": run, "sweep": sweep, "study": study, "search": search}
TINY = ("model.depth=0", "data.size=10", "num_steps=2", "every=1", "warmup=1", "twins=1")
VALUES = (
    *(
        "0",
        "1",
        "2",
        "3",
        "-1",
        "0.5",
        "-0.0",
        "1e-320",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "2147483647",
    ),
    *("2147483648", "4294967296", "9223372036854775808", "1e30", "many", "", "null", "true", "[]"),
    *(
        "[1]",
        "[1,1]",
        "[1,[2]]",
        "{}",
        "{a: 1}",
        "${seed}",
        "${nothing}",
        "${oc.env:NO_SUCH}",
        "???",
    ),
    *(
        "'a b'",
        "'[b]'",
        "'é'",
        "1,2",
        "choice(1,2)",
        "range(3)",
        "a=b",
        "/",
        "optax.lion",
        "=",
        "\\",
    ),
)
KEYS = {
    "run": (
        *(
            "num_steps",
            "every",
            "warmup",
            "twins",
            "kappa",
            "chunks",
            "seed",
            "loss",
            "model.width",
        ),
        *("model.depth", "model.activation", "model.gain", "data.size", "optimizer.learning_rate"),
        *("optimizer.hyperparameters.b1", "+optimizer.hyperparameters.eps", "optimizer.name"),
        *("+optimizer.hyperparameters.warmup_steps", "model.heads", "model.patch", "data.seed"),
        *(
            "data.length",
            "data.symbols",
            "optimizer.hyperparameters",
            "optimizer.hyperparameters.b2",
        ),
        *("model._target_", "data._target_", "model", "data", "optimizer"),
    ),
    "study": (
        *("grid.seeds", "grid.flows", "grid.problems", "grid.optimizers", "grid.segment"),
        *(
            "grid.workers",
            "grid.compared",
            "+grid.without.gd",
        ),
        *("grid.definitions.narrow", "num_steps", "every", "warmup", "twins", "kappa", "chunks"),
        *("loss", "study.steps", "study.b2", "study.test_seeds", "study.tuning_seeds", "study"),
        *("study.b2s", "study.shown", "study.generations", "study._target_", "grid"),
    ),
}
KEYS["sweep"] = (
    *KEYS["run"],
    *("sweep.zipped", "sweep.flows", "sweep.segment", "sweep.chunk", "sweep.axes", "sweep"),
    *("distributed.coordinator", "distributed.num_processes", "distributed.process_id"),
)
KEYS["search"] = KEYS["study"]
GROUPS = {
    "run": ("optimizer", "model", "data", "loss"),
    "sweep": ("optimizer", "model", "data", "loss"),
    "study": ("study",),
    "search": (),
}
NAMES = {
    **{
        group: [*sorted(path.stem for path in (CONFIGS / group).glob("*.yaml")), "lion", "null"]
        for group in ("optimizer", "model", "data", "study")
    },
    "loss": ["squared_error", "cross_entropy", "mean_output", "hinge"],
}
AXES = (
    *(
        "seed=0,1",
        "kappa=.1,.2",
        "optimizer.learning_rate=geometric(1e-3,1,3)",
        "seed=linear(0,3,4)",
    ),
    *("optimizer.hyperparameters.b1=0,.5", "model.depth=1,2", "seed=", "seed=.5", "kappa=-1", "x"),
    *(
        "seed=linear(0,4294967295,4294967296)",
        "kappa=cubic(1,2,3)",
        "optimizer.hyperparameters.x=1",
    ),
    *(
        "optimizer.learning_rate=0",
        "kappa=geometric(0,1,2)",
        "kappa=linear(0,1)",
        "kappa=nan",
        "every=1",
    ),
)
PROBLEMS = (
    ["data=digits"],
    ["model.depth=1", "data=digits", "loss=cross_entropy"],
    ["model=toy", "data=nothing", "loss=mean_output"],
    ["model=transformer", "data=sorting", "data.size=20"],
)
PATHS = (
    "builtins.dict",
    "os.getcwd",
    "optax.lion",
    "no.such",
    "experiments.problems.models.mlp.mlp",
)
STRANGE = (
    "--num_steps=2",
    "num_steps",
    "=",
    "@a=b",
    "num_steps==2",
    "a.b.c=1",
    "..=1",
    "+=1",
    "é=1",
)


def drawn(draw: random.Random) -> tuple[str, list[str]]:
    """Draw a command and its arguments."""
    command = draw.choice(["run", "run", "sweep", "study", "search"])
    if draw.random() < 0.6 and command in ("run", "sweep"):
        arguments = [*draw.choice(PROBLEMS), f"optimizer={draw.choice(NAMES['optimizer'][:-2])}"]
    else:
        arguments = [f"{group}={draw.choice(NAMES[group])}" for group in GROUPS[command]]
        arguments = [each for each in arguments if command == "study" or draw.random() < 0.4]
    if command == "sweep" and draw.random() < 0.9:
        axes = ",".join(f"'{axis}'" for axis in draw.sample(AXES, draw.choice([1, 1, 2])))
        arguments.append(f"sweep.axes=[{axes}]")
    if command == "search":
        small = ["grid.problems=[mlp]", "grid.optimizers=[gd]"]  # many cells take long
        chosen = draw.choice(
            [["tiny"], ["warmup"], ["lion"], ["papers", *small], ["models", *small]]
        )
        arguments += chosen
    if draw.random() < 0.5:
        arguments.append(draw.choice(["data.size=20", "num_steps=20", "every=5"]))
    for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
        key = draw.choice(KEYS[command])
        value = draw.choice(PATHS if "_target_" in key else VALUES)
        if draw.random() < 0.1:
            key = draw.choice(["seeed", "modle.width", "+new", "~", "++", "+"]) + draw.choice(
                ["", key]
            )
        arguments.append(draw.choice(STRANGE) if draw.random() < 0.05 else f"{key}={value}")
    if draw.random() < 0.1:  # of another command
        other = draw.choice([name for name in KEYS if name != command])
        arguments.append(f"{draw.choice(KEYS[other])}={draw.choice(VALUES)}")
    return command, arguments


# With these, two steps are no longer tiny, or the problem is another one.
LARGE = (
    "model=",
    "2147483647",
    "1e30",
    "data=sorting",
    "linear(0,4294967295",
    "geometric(1e-3,1,3)",
)


class Built(BaseException):
    """All that a command needs has been built; nothing is run."""


def built(*arguments, **options):
    raise Built


def build(config, *arguments):
    """Build what `run` and `sweep` compute with."""
    config = getattr(config, "config", config)
    problem = problems.configured(config)
    tx = optimizers.configured(config.optimizer)
    flows.rod(config.kappa)
    params = jax.eval_shape(problem.init, jax.random.key(config.seed))
    jax.eval_shape(problem.loss, params)
    jax.eval_shape(tx.init, params)
    raise Built


@pytest.fixture
def ended(tmp_path, monkeypatch, capfd):
    """Return a function that gives a command, and says in one line how it ended."""
    monkeypatch.setattr("sys.argv", ["experiments"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("experiments.setup.runtime.configure", lambda: [])
    monkeypatch.setattr("experiments.setup.runtime.use_all_cores", lambda: None)
    monkeypatch.chdir(tmp_path)

    def ended(command, arguments, stubbed=True):
        folder = tmp_path / "run"
        # Before the others, of which one may be no argument at all.
        given = arguments if command == "search" else [f"hydra.run.dir={folder}", *arguments]
        with monkeypatch.context() as patch:
            if stubbed:
                patch.setattr(single, "run", build)
                patch.setattr(sweeps, "run", build)
                patch.setattr(grid, "run", built)
                patch.setattr(running, "run", built)
                patch.setattr(workers, "pool", built)
            try:
                COMMANDS[command].main(given)
                said = ""
            except Built:
                said = ""
            except SystemExit as error:
                said = capfd.readouterr().err + (
                    "" if isinstance(error.code, int) else f"{error.code}\n"
                )
                assert error.code not in (0, None)
        err = capfd.readouterr().err
        assert err == ""
        if said:
            assert said.startswith("error: ") and said.count("\n") == 1 and said.endswith("\n")
            assert len(said) > len("error: .\n") and "Error" not in said.partition("(")[0]
        if said or stubbed:
            assert not folder.exists() and not list(tmp_path.glob("runs/*"))
        else:
            assert (folder / "results.nc").exists()
        return said

    return ended


def test_thirty_random_configurations(ended):
    draw = random.Random(24)
    said = [ended(*drawn(draw)) for _ in range(30)]
    assert 3 <= said.count("") <= 27  # neither all right nor all wrong


@pytest.mark.slow
def test_two_hundred_random_configurations(ended):
    draw = random.Random(0)
    for _ in range(200):
        ended(*drawn(draw))


@pytest.mark.slow
def test_ten_random_configurations_that_are_run(ended):
    draw, ran = random.Random(1), 0
    while ran < 10:
        command, arguments = drawn(draw)
        if command in ("run", "sweep") and not any(name in str(arguments) for name in LARGE):
            ended(command, [*arguments, *TINY], stubbed=False)
            ran += 1
