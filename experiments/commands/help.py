"""Help in plain text: what there is to choose from, without waiting for JAX."""

import inspect
import itertools
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from experiments.commands import COMMANDS
from experiments.configuration.config import COMMANDS as SCHEMAS
from experiments.configuration.config import CONFIGS, target_of
from experiments.configuration.derive import descriptions, schema

GROUPS = ("optimizer", "model", "data", "study")
EXAMPLES = {
    "run": ("optimizer=gd num_steps=300", "model=cnn model.width=24 data=mnist"),
    "sweep": (
        """'sweep.axes=["optimizer.learning_rate=geometric(1e-4,1e-2,16)"]'""",
        """optimizer=gd 'sweep.axes=["kappa=0.1,1","seed=0,1,2"]'""",
    ),
    "study": ("study=coevolution study.steps=10", "study=papers_small grid.seeds=[1]"),
}
WIDTH = 100


def overview() -> str:
    """Return the help of `python -m experiments`."""
    return "\n".join(
        [
            "usage: python -m experiments COMMAND [ARGUMENT ...]\n",
            *(f"  {name:<8}{told}" for name, told in COMMANDS.items()),
            "\nexamples:",
            f"  python -m experiments run {EXAMPLES['run'][0]}",
            f"  python -m experiments study {EXAMPLES['study'][1]}",
            "\n`python -m experiments COMMAND --help` says what a command can be given.",
        ]
    )


def page(command: str) -> str:
    """Return the help of a command that takes a configuration."""
    files = OmegaConf.load(CONFIGS / "run.yaml").defaults
    defaults = dict(
        item for entry in files if isinstance(entry, DictConfig) for item in entry.items()
    )
    lines = [
        f"usage: python -m experiments {command} [KEY=VALUE ...] [--multirun]\n",
        f"{COMMANDS[command][0].upper()}{COMMANDS[command][1:]}.",
        "\nexamples:",
        *(f"  python -m experiments {command} {example}" for example in EXAMPLES[command]),
    ]
    for kind in SCHEMAS[command]:
        for group in (entry.name for entry in fields(kind) if entry.name in GROUPS):
            default = f", by default {defaults[group]}" if group in defaults else ""
            lines += [f"\n{group}=NAME{default}", *_choices(group)]
        if known := list(_keys(kind, set_by(command))):
            of_grids = " of a grid, whose file may set others" if command == "study" else ""
            lines += [f"\nkeys and their defaults{of_grids}:", *known]
    lines += [
        "\nhydra.run.dir=FOLDER sets the run folder. With --multirun, KEY=VALUE,VALUE makes a job",
        "of each value. --hydra-help lists more.",
    ]
    return "\n".join(lines)


def _choices(group: str) -> Iterator[str]:
    """Yield for each file of a group its name, the sentence at its top, and its keys."""
    for path in sorted((CONFIGS / group).glob("*.yaml")):
        yield f"  {path.stem:<18}{comment(path)}"
        if target := target_of(path):
            keys = [f"{name}={text}" for name, text, _ in _entries(schema(target)) if text]
            indent = " " * 20
            yield from textwrap.wrap(
                f"{group}.* : {' '.join(keys)}" if keys else "",
                WIDTH,
                initial_indent=indent,
                subsequent_indent=indent,
                break_long_words=False,
            )


def set_by(command: str) -> dict[str, str]:
    """Return the values that the file of a command sets, as on the command line."""
    values: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{command}.yaml"))
    return {name: json.dumps(value) for name, value in values.items()}


def _keys(kind: Any, given: Mapping[str, str], prefix: str = "") -> Iterator[str]:
    """Yield a line for each key of a schema that is no group, with its value if it is given."""
    for entry in fields(kind):
        if is_dataclass(entry.type):
            yield from _keys(entry.type, {}, f"{entry.name}.")
    for name, text, told in _entries(kind):
        if name not in GROUPS:
            key = f"{prefix}{name}={given.get(name, text) or '...'} "
            yield from textwrap.wrap(
                f"{key:<31}{told}", WIDTH, initial_indent="  ", subsequent_indent=" " * 33
            )


def _entries(kind: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the default as on the command line, and the description of each key."""
    told = {}
    for each in reversed(kind.__mro__):
        told |= descriptions(inspect.getdoc(each) if each.__doc__ else "")
    defaults = OmegaConf.structured(kind)
    plain: Any = OmegaConf.to_container(defaults, enum_to_str=True)
    for name, value in plain.items():
        if not name.startswith("_") and not is_dataclass(OmegaConf.get_type(defaults, name)):
            text = json.dumps(value, separators=(",", ":")).replace('"', "")
            yield name, "" if value == MISSING else text, told.get(name, "")


def comment(path: Path) -> str:
    """Return the first sentence of the comment at the top of a file of `configs/`."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    text = " ".join(line.strip("# ") for line in lines if not line.startswith("# @"))
    return re.split(r"(?<=\.) |; ", text)[0].rstrip(".")
