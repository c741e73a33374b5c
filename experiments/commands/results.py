"""Measure, and keep the results as data: `python -m experiments results NAME [NAME ...]`.

NAME is a part of the benchmark, which is measured now, or a study, which is computed or continued
in `runs/NAME` as `python -m experiments study` does; what is finished there is only read. Tables,
findings and named numbers go to `results/NAME.json`, with the command, the commit, the date, the
machine and the versions that made them; what the figures of a study are drawn from goes to
`results/NAME.data.json`. The tables of the README are rewritten from these files. Each file ends
with a checksum: one that was edited by hand is refused by whatever reads it.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.analysis.table import Table
from experiments.benchmarks import PARTS
from experiments.commands import bench
from experiments.commands.arguments import Parser
from experiments.commands.help import comment
from experiments.configuration.config import CONFIGS
from experiments.configuration.errors import reported_in_one_line
from experiments.report import data, published, readme
from experiments.report.published import Published
from experiments.storage.files import write_atomically

STUDIES = tuple(sorted(path.stem for path in (CONFIGS / "study").glob("*.yaml")))
LARGEST = 150_000  # bytes of a data set that is kept beside the results


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = Parser(
        "results",
        __doc__,
        f"parts: {', '.join(PARTS)}\nstudies: {', '.join(STUDIES)}\n\n"
        "examples:\n  python -m experiments results cost rectification\n"
        "  python -m experiments results models grid.problems=[mlp,cnn,vit]\n"
        "  python -m experiments results papers_small --from /scratch/papers_small",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="a part or a study")
    parser.add_argument(
        "--from", metavar="FOLDER", type=Path, dest="folder", help="read a study from there"
    )
    parser.add_argument(
        "--readme", action="store_true", help="rewrite the tables of the README, measure nothing"
    )
    chosen = parser.parse_args(arguments)
    overrides = [name for name in chosen.names if "=" in name]
    names = [name for name in chosen.names if "=" not in name]
    with reported_in_one_line():
        if not names and not chosen.readme:
            raise ValueError("name a part of the benchmark or a study; --help lists them")
        if chosen.readme and (chosen.names or chosen.folder):
            raise ValueError("--readme measures nothing: it takes no NAME, no key and no folder")
        for name in names:
            if name not in PARTS and name not in STUDIES:
                raise ValueError(f"{name}: choose from {', '.join([*PARTS, *STUDIES])}")
            if name in PARTS and (chosen.folder or overrides):
                raise ValueError(f"{name} is measured now: it takes no folder and no keys")
        if chosen.folder and (len(names) != 1 or overrides):
            raise ValueError("--from FOLDER takes the name of one study, and no keys")
        for name in names:
            print(f"results: {keep(name, overrides, chosen.folder)}", flush=True)
        readme.write(None if chosen.readme else names)


def keep(name: str, overrides: Sequence[str], folder: Path | None) -> Path:
    """Measure or read one of the names, and return its file."""
    from experiments.report import stored  # imports JAX, which takes a while

    if name in PARTS:
        return published.save(part_of(name))
    place = folder or Path("runs") / name
    if folder is None and (overrides or not stored.finished(place)):
        command = [sys.executable, "-m", "experiments", "study", f"study={name}", *overrides]
        if subprocess.run([*command, f"hydra.run.dir={place}"]).returncode:
            raise ValueError(f"study={name} has not finished, so there are no results of it")
    answers = f"{comment(CONFIGS / 'study' / f'{name}.yaml')}."
    found, dataset = stored.made(name, answers, place)
    content = data.text(dataset).encode() if dataset is not None else b""
    if len(content) > LARGEST:
        raise ValueError(
            f"what {name} draws takes {len(content)} bytes, and results/ has files of at most "
            f"{LARGEST}: its study has to keep less of it, in `shown_part`"
        )
    path = published.save(found)
    if content:
        write_atomically(path.with_suffix(".data.json"), content)
    return path


def part_of(name: str) -> Published:
    """Measure a part of the benchmark."""
    from experiments.report.stored import circumstances, named
    from experiments.storage import measured

    shown = bench.measured(name, bench.set_up())
    return Published(
        name,
        PARTS[name].answers,
        f"python -m experiments bench {name}",
        circumstances(iter([measured.circumstances()])),
        named([each for each in shown if isinstance(each, Table)]),
        [each for each in shown if isinstance(each, str)],
    )
