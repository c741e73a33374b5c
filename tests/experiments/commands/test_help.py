import pytest

from experiments.commands import COMMANDS
from experiments.commands import help as helping
from experiments.configuration.config import CONFIGS


def test_the_overview_names_every_command():
    text = helping.overview()
    assert all(f"  {command} " in text for command in COMMANDS)
    assert text.count("python -m experiments run") == 1


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        (
            "run",
            [
                "optimizer=NAME, by default adam",
                "  adam_eps          Adam with a large eps, which bounds how much a step can be",
                "                    model.* : width=32 depth=3 activation=tanh gain=0.7",
                "  num_steps=600                  steps that are tracked, a multiple of `every`.",
                "  python -m experiments run optimizer=gd num_steps=300",
            ],
        ),
        ("sweep", ["  sweep.flows=[stable,rod]       the flows that each lane follows."]),
        (
            "study",
            [
                "  papers_small      How closely rod flows follow nine optimizers",
                "  grid.seeds=...                 of the initial weights and the twins.",
                "                    study.* : b2s=[0.9,0.99,0.999] steps=10000 b2=0.999",
            ],
        ),
    ],
)
def test_a_page_shows_choices_and_defaults(command, lines):
    text = helping.page(command)
    for line in lines:
        assert f"\n{line}" in text


@pytest.mark.parametrize("group", ["optimizer", "model", "data", "study"])
def test_every_file_has_a_comment(group):
    for path in (CONFIGS / group).glob("*.yaml"):
        assert len(helping.comment(path)) >= 4, path
