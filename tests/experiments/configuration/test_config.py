import dataclasses
import pickle
import subprocess
import sys

import cloudpickle
import optax
import pytest
from omegaconf import DictConfig, OmegaConf

import rodflow
from experiments.configuration import config
from experiments.configuration.config import composed, load
from experiments.configuration.functions import Activation
from experiments.setup import optimizers


def test_defaults_are_the_problem_of_the_mathematics():
    defaults = load()
    assert (defaults.num_steps, defaults.warmup, defaults.every) == (600, 20, 10)
    assert (defaults.optimizer.name, defaults.optimizer.learning_rate) == ("adam", 1e-3)
    assert defaults.optimizer.hyperparameters == {"b1": 0.9, "b2": 0.99}
    assert (defaults.data.size, defaults.model.width, defaults.model.depth) == (500, 32, 3)
    assert defaults.model.activation is Activation.tanh


def test_every_optimizer_has_a_configuration():
    files = {path.stem for path in (config.CONFIGS / "optimizer").glob("*.yaml")}
    assert files == set(optimizers.CONSTRUCTORS) > set(rodflow.OPTIMIZERS)
    for name in files:
        chosen = load([f"optimizer={name}"]).optimizer
        assert chosen.name == name
        assert isinstance(optimizers.configured(chosen), optax.GradientTransformation)


@pytest.mark.parametrize("name", ["rf_rmsprop", "rf_adamw", "if_shampoo"])
def test_the_full_batch_is_as_large_as_the_data(name):
    chosen = load([f"optimizer={name}", "data.size=70"]).optimizer
    assert chosen.hyperparameters["batch_size"] == 70


def test_overrides_reach_every_group():
    chosen = load(["optimizer=gd", "optimizer.learning_rate=0.1", "model.activation=relu"])
    assert (chosen.optimizer.name, chosen.optimizer.learning_rate) == ("gd", 0.1)
    assert chosen.model.activation is Activation.relu


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rate=0", "optimizer.learning_rate=0.0 is out of range: .* above 0"),
        ("optimizer.learning_rate=nan", "learning_rate=nan"),
        ("optimizer.learning_rate=inf", "learning_rate=inf"),
        ("optimizer.hyperparameters.b1=1", "b1=1.0 is out of range: .* below 1"),
        ("+optimizer.hyperparameters.eps=-1", "eps=-1.0 is out of range"),
        ("model.width=0", "model.width=0 is out of range"),
        ("model.depth=-1", "model.depth=-1 is out of range"),
        ("model.gain=0", "model.gain=0.0 is out of range"),
        ("seed=-1", "seed=-1 is out of range"),
        ("warmup=-1", "warmup=-1 is out of range"),
        ("every=0", "every=0 is out of range"),
        ("num_steps=0", "num_steps=0 is out of range"),
        ("num_steps=15", "num_steps=15 is out of range: it must be a multiple of every=10"),
        ("twins=-1", "twins=-1 is out of range"),
        ("kappa=-1", "kappa=-1.0 is out of range"),
        ("chunks=0", "chunks=0 is out of range"),
        ("+sede=1", "sede: no such key; the keys here are loss, chunks, warmup"),
        ("+model.wide=1", "model.wide: no such key; the keys here are width"),
        ("~seed", "seed has no value"),
        ("model.width=???", "model.width has no value"),
    ],
)
def test_values_out_of_range_are_named(override, message):
    with pytest.raises(ValueError, match=message):
        load([override])


def test_the_resolved_configuration_can_be_run_again():
    chosen = load(["optimizer=nesterov", "seed=3"])
    written = OmegaConf.create(OmegaConf.to_yaml(OmegaConf.structured(chosen)))
    again = OmegaConf.merge(config.RunConfig, written)
    assert isinstance(again, DictConfig)
    assert config.OptimizerConfig(**config.checked(again).optimizer) == chosen.optimizer


def test_a_configuration_can_be_sent_to_another_process():
    chosen = load(["model=cnn", "data=mnist1d"])
    assert pickle.loads(pickle.dumps(chosen)) == chosen
    script = "import pickle, sys; print(pickle.load(sys.stdin.buffer).model.width)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=cloudpickle.dumps(composed("run", ["model.width=9"])),
        cwd=config.CONFIGS.parent,
        capture_output=True,
    )
    assert done.stdout == b"9\n", done.stderr.decode()


def test_values_are_placed_in_a_copy():
    before = load()
    values = {"optimizer.hyperparameters.b1": 0.5, "optimizer.learning_rate": 2.0, "seed": 7}
    after = config.with_values(before, values)
    assert after.optimizer.hyperparameters == {"b1": 0.5, "b2": 0.99}
    assert (after.optimizer.learning_rate, after.seed) == (2.0, 7)
    assert before == load()


def test_an_identity_is_of_the_numbers_alone():
    others = ["distributed.coordinator=a:1", "distributed.num_processes=2"]
    swept = ["sweep.axes=['seed=0,1']", "twins=4", *others, "distributed.process_id=1"]
    alone = config.identity(load())
    assert config.identity(config.load_sweep(swept)) == alone
    assert config.identity(load(["kappa=1"])) != alone


OTHERS = {
    "optimizer": "optimizer=gd",
    "model": "model.width=9",
    "data": "data.size=9",
    "loss": "loss=cross_entropy",
    "chunks": "chunks=2",
    "warmup": "warmup=21",
    "num_steps": "num_steps=610",
    "every": "every=20",
    "twins": "twins=3",
    "kappa": "kappa=0.5",
    "seed": "seed=1",
}


def test_every_key_of_a_run_is_part_of_its_identity():
    assert set(OTHERS) == {entry.name for entry in dataclasses.fields(config.RunConfig)}
    identities = {config.identity(load([other])) for other in OTHERS.values()}
    assert len(identities | {config.identity(load())}) == len(OTHERS) + 1


def test_a_study_is_a_question_or_a_grid():
    question = config.load_study(["study=warmup", "study.steps=7"])
    assert isinstance(question, config.QuestionConfig) and question.study.steps == 7
    grid = config.load_study(["study=papers_small", "grid.seeds=[1]"])
    assert isinstance(grid, config.GridStudyConfig) and grid.grid.seeds == [1]
    assert grid.grid.learning_rates["mlp"]["gd"] == 0.4


@pytest.mark.parametrize("path", sorted((config.CONFIGS / "study").glob("*.yaml")), ids=str)
def test_every_study_is_complete(path):
    config.load_study([f"study={path.stem}"])
