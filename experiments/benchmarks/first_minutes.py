"""The first minutes of a user: a short run, with an empty cache of programs and with a full one.

Each run is a process of its own. Seconds are wall clock, but for those of the CPU, which tell more
on a machine that is shared: compilation uses several cores, and waits where others work.
"""

import os
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from experiments.analysis.table import Table
from experiments.benchmarks import Note
from experiments.benchmarks.process import measured

MODELS = ("mlp", "transformer")
CACHES = ("cold", "warm")
STEPS = 20
SHOWN = 8  # programs
# Of JAX, https://docs.jax.dev/en/latest/jax.monitoring.html -> name of the part
EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "XLA",
}
IMPORTED = ("commands.run", "commands.progress", "report.figures", "report.terminal", "runs.single")
FORMAT = ".1f"


def first_minutes() -> Iterator[Table | Note]:
    """Measure a run of each model, twice, and print its parts and its largest programs."""
    yield Note(f"{len(MODELS)} models, each with an empty and a full cache, {STEPS} steps")
    found = {}
    with TemporaryDirectory() as folder:
        for model in MODELS:
            for cache in CACHES:
                place = str(Path(folder) / f"{model}-{cache}")
                programs = str(Path(folder) / f"{model}-programs")
                found[f"{model}, {cache}"] = measured(watched, model, place, programs)
    yield parts(found)
    for model in MODELS:
        yield by_program(model, *(found[f"{model}, {cache}"] for cache in CACHES))


def parts(found: dict[str, dict]) -> Table:
    """Return the table of the parts of runs."""
    rows = []
    for name, run in found.items():
        compiled = [sum(run["programs"][part].values()) for part in EVENTS.values()]
        rest = run["wall"] - run["imports"] - sum(compiled)
        rows.append([name, run["wall"], run["cpu"], run["imports"], *compiled, rest])
    columns = ["run", "wall", "CPU", "imports", *EVENTS.values(), "rest"]
    title = f"First minutes: seconds of a main job of {STEPS} steps"
    return Table(title, columns, rows, dict.fromkeys(columns[1:], FORMAT))


def by_program(model: str, cold: dict, warm: dict) -> Table:
    """Return the table of the programs that take longest with an empty cache."""

    def seconds(run: dict, program: str, part: str) -> float:
        return run["programs"][part].get(program, 0.0)

    names = {name for part in EVENTS.values() for name in cold["programs"][part]}
    by_cost = sorted(names, key=lambda n: -sum(seconds(cold, n, p) for p in EVENTS.values()))
    columns = {
        part: [seconds(cold, name, part) for name in by_cost[:SHOWN]] for part in EVENTS.values()
    }
    columns["XLA, warm"] = [seconds(warm, name, "XLA") for name in by_cost[:SHOWN]]
    title = f"Programs of {model}: seconds of those that take longest, with an empty cache"
    return Table.by_column(title, by_cost[:SHOWN], columns)._replace(
        formats=dict.fromkeys(columns, ".2f")
    )


def watched(model: str, folder: str, programs: str) -> dict[str, float | dict]:
    """Run the main job into a folder, its compiled programs in another, and return its seconds."""
    from jax import monitoring

    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs
    begin = time.perf_counter()
    from experiments.setup import runtime

    runtime.configure()
    for name in IMPORTED:
        import_module(f"experiments.{name}")
    imports = time.perf_counter() - begin
    taken: dict[str, dict[str, float]] = {part: {} for part in EVENTS.values()}

    def note(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event in EVENTS:
            name = str(kwargs.get("fun_name", "")).removeprefix("jit(").removesuffix(")")
            part = taken[EVENTS[event]]
            part[name] = part.get(name, 0.0) + duration_secs

    monitoring.register_event_duration_secs_listener(note)
    command = import_module("experiments.commands.run")
    command.main([f"model={model}", f"num_steps={STEPS}", f"hydra.run.dir={folder}"])
    wall = time.perf_counter() - begin
    return {"wall": wall, "cpu": time.process_time(), "imports": imports, "programs": taken}
