"""The command `python -m experiments search STUDY`: learning rates at which the edge is reached.

For every cell of a grid the optimizer runs alone, at learning rates a factor of two apart, all of
them lanes of one program, and its effective sharpness is measured along the run. The rule takes no
notice of any flow:

    the smallest learning rate of the ladder whose effective sharpness reaches 1 within the first
    half of the run, from a seed that the grid does not use, without divergence up to the end.

The ladder begins around the learning rate in `configs/optimizer/` and moves on while the answer
lies at one of its ends. Where no rung obeys the rule, the rung with the largest effective
sharpness among those that do not diverge is taken, and said so. The table is written after every
cell to the file of `configs/learning_rates/` that the grid reads; cells that it has already are
left alone, so a search that was stopped goes on. Delete the file, or a line of it, to search again.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from omegaconf import OmegaConf

from experiments.commands.arguments import Parser
from experiments.configuration import config as configuration
from experiments.configuration.config import GridStudyConfig, RunConfig
from experiments.configuration.errors import reported_in_one_line
from experiments.storage.files import write_atomically

SEED = 1000  # of the initial weights; grids use small numbers
RUNGS = 8  # learning rates at a time
MOVES = 3  # times that the ladder may move on
MEASUREMENTS = 12  # of the effective sharpness along a run
EDGE = 1.0


class Ladder(NamedTuple):
    """The outcome at each learning rate, in ascending order."""

    rates: Float[np.ndarray, " rungs"]
    early: Float[np.ndarray, " rungs"]
    """Largest effective sharpness within the first half of the run."""
    late: Float[np.ndarray, " rungs"]
    """Largest effective sharpness within the whole run; NaN if the run diverged."""


class Answer(NamedTuple):
    """A learning rate, the largest effective sharpness there, and whether it obeys the rule."""

    rate: float
    sharpness: float
    obeys: bool

    def __str__(self) -> str:
        """Say it in a line."""
        remark = "" if self.obeys else ", not the rule: the sharpest that does not diverge"
        return f"{self.rate:.4g}, effective sharpness up to {self.sharpness:.3g}{remark}"


def choose(ladder: Ladder) -> tuple[int, bool]:
    """Return the rung to take, and whether it obeys the rule."""
    obeys = (ladder.early >= EDGE) & ~np.isnan(ladder.late)
    if obeys.any():
        return int(np.argmax(obeys)), True
    if np.isnan(ladder.late).all():
        return 0, False
    return int(np.nanargmax(ladder.late)), False


def search(climb: Callable[[Float[np.ndarray, " rungs"]], Ladder], around: float) -> Answer:
    """Search the learning rates of one cell.

    Args:
        climb: runs the optimizer at all rungs.
        around: a learning rate in the middle of the first ladder.
    """
    rungs = around * 2.0 ** (np.arange(RUNGS) - RUNGS // 2)
    known = climb(rungs)
    for _ in range(MOVES):
        best, obeys = choose(known)
        if best == 0:
            rungs = known.rates[0] * 2.0 ** np.arange(-RUNGS, 0)
        elif best == len(known.rates) - 1 and not obeys:
            rungs = known.rates[-1] * 2.0 ** np.arange(1, RUNGS + 1)
        else:
            break
        parts = sorted([known, climb(rungs)], key=lambda ladder: ladder.rates[0])
        known = Ladder(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    best, obeys = choose(known)
    return Answer(float(known.rates[best]), float(known.late[best]), obeys)


def outcome(
    rates: Float[np.ndarray, " rungs"],
    sharpness: Float[np.ndarray, "rungs records"],
    diverged_at: Int[np.ndarray, " rungs"],
) -> Ladder:
    """Return the outcome at each learning rate, from the effective sharpness along the run."""
    sharpness = np.nan_to_num(sharpness, nan=-np.inf, posinf=-np.inf)
    late = np.where(diverged_at < 0, sharpness.max(axis=1), np.nan)
    return Ladder(rates, sharpness[:, : sharpness.shape[1] // 2].max(axis=1), late)


def climber(config: RunConfig) -> Callable[[Float[np.ndarray, " rungs"]], Ladder]:
    """Compile the runs of a cell at all learning rates of a ladder."""
    import jax
    import jax.numpy as jnp

    import rodflow
    from experiments import problems
    from experiments.setup import optimizers
    from experiments.setup.observers import effective_sharpness

    tx = optimizers.configured(config.optimizer)
    problem = problems.compact(problems.configured(config), tx)
    params = problem.init(jax.random.key(SEED))
    stretch = max(1, config.num_steps // MEASUREMENTS)

    @jax.jit
    @jax.vmap
    def lane(learning_rate):
        rung = configuration.with_values(config, {"optimizer.learning_rate": learning_rate})
        tx = optimizers.configured(rung.optimizer)

        def observe(state: rodflow.PhaseState):
            return effective_sharpness(problem, tx, state)[0]

        tracker = rodflow.Tracker(problem.loss, tx, flows={}, every=stretch, observe=observe)
        state = tracker.init(params, config.warmup)
        tracking = tracker.run(state, max(2, config.num_steps // stretch))[1]
        return tracking.observed, tracking.diverged_at[-1]

    def climb(rates: Float[np.ndarray, " rungs"]) -> Ladder:
        return outcome(rates, *map(np.asarray, lane(jnp.asarray(rates, jnp.float32))))

    return climb


def search_cell(config: RunConfig) -> Answer:
    """Search the learning rates of the cell that a configuration describes."""
    return search(climber(config), config.optimizer.learning_rate)


def table_of(study: str) -> Path:
    """Return the file that a grid takes its learning rates from.

    Raises:
        ValueError: it has none.
    """
    composed = configuration.composed("study", [f"study={study}"], return_hydra_config=True)
    name = composed.hydra.runtime.choices.get("learning_rates@grid.learning_rates")
    if name is None:
        raise ValueError(
            f"study={study} takes no file of configs/learning_rates/; set its grid.learning_rates"
        )
    return configuration.CONFIGS / "learning_rates" / f"{name}.yaml"


def remarks(path: Path) -> str:
    """Return the comment at the beginning of a table, or the one of a new table."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    said = "".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
    return said or f"# Found by `python -m experiments search {path.stem}`; the rule is there.\n"


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    parser = Parser(
        "search",
        __doc__,
        "examples:\n  python -m experiments search papers\n"
        "  python -m experiments search models grid.problems=[mlp] grid.optimizers=[adam]",
    )
    parser.add_argument("study", help="a grid of runs, a file of configs/study/")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="KEY=VALUE", help="as for a study"
    )
    chosen = parser.parse_args(arguments)
    with reported_in_one_line():
        config = configuration.load_study([f"study={chosen.study}", *chosen.overrides])
        if not isinstance(config, GridStudyConfig):
            raise ValueError(f"study={chosen.study} has no grid to search learning rates for")
        path = table_of(chosen.study)
        from experiments.runs import grid, workers

        table = OmegaConf.to_container(OmegaConf.load(path)) if path.exists() else {}
        assert isinstance(table, dict)
        missing = [
            (problem, optimizer, cell)
            for problem, optimizer, cell in grid.composed(config)
            if optimizer not in table.get(problem, {})
        ]
        head = remarks(path)
        with workers.pool(config.grid.workers) as pool:
            found = pool.map(search_cell, [cell for _, _, cell in missing])
            for (problem, optimizer, _), answer in zip(missing, found, strict=True):
                print(f"{problem}/{optimizer}: {answer}", flush=True)
                table.setdefault(problem, {})[optimizer] = float(f"{answer.rate:.6g}")
                write_atomically(path, (head + OmegaConf.to_yaml(OmegaConf.create(table))).encode())
