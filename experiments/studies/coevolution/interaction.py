"""Statistics of one table of scores: do architectures and optimizers suit each other?

scores[a, o, l, s] is how well architecture a trains with optimizer o at learning rate l from seed
s; more is better, and NaN was not tried. A learning rate is tuned, and an architecture selected,
on the mean over search seeds; every number reported is of test seeds:

    M[o, p] = mean over the architectures selected under o, and test seeds, of the score with p

    I = M - row means - column means + mean         (0 for an additive table)
    diagonal advantage = mean of the diagonal of I - mean of the rest of I

There is no JAX here, and nothing that knows what an optimizer is.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from experiments.analysis.numbers import ENDS

Cells = Float[np.ndarray, "architectures optimizers"]
Square = Float[np.ndarray, "optimizers optimizers"]
Scores = Float[np.ndarray, "architectures optimizers rates seeds"]
Statistics = dict[str, np.ndarray]


class Tuned(NamedTuple):
    """Scores at the learning rates that are best on the search seeds.

    Attributes:
        rate: index of the learning rate; the first if nothing was tried.
        fitness: mean score on the search seeds, by which architectures are selected.
        score: score on each test seed.
    """

    rate: Int[np.ndarray, "architectures optimizers"]
    fitness: Cells
    score: Float[np.ndarray, "architectures optimizers seeds"]


def tuned(search: Scores, test: Scores) -> Tuned:
    """Choose a learning rate for each architecture and optimizer."""
    mean = np.where(np.isnan(search).any(axis=-1), -np.inf, search.mean(axis=-1))
    rate = mean.argmax(axis=-1)
    fitness = np.take_along_axis(mean, rate[..., None], axis=-1)[..., 0]
    score = np.take_along_axis(test, rate[..., None, None], axis=-2)[..., 0, :]
    return Tuned(rate, fitness, score)


def selected(fitness: Cells, k: int) -> Int[np.ndarray, "optimizers k"]:
    """Return the k fittest architectures under each optimizer."""
    return np.argsort(-fitness, axis=0, kind="stable")[:k].T


def transfer(fitness: Cells, score: Cells, k: int) -> Square:
    """Return M: rows are the optimizers selected under, columns those trained with."""
    return score[selected(fitness, k)].mean(axis=1)


def double_centred(table: Square) -> Square:
    """Subtract the means of rows and columns."""
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    return table - rows - columns + table.mean()


def diagonal_advantage(table: Square) -> float:
    """Return the mean of the interaction on the diagonal minus that off it."""
    interaction, count = double_centred(table), len(table)
    trace = np.trace(interaction)
    return float(trace / count - (interaction.sum() - trace) / (count * (count - 1)))


def ranks(score: Cells) -> Cells:
    """Rank the optimizers on each architecture; 1 is the best, and ties share the mean rank."""
    return rankdata(-score, axis=1)


def rank_shift(fitness: Cells, score: Cells, k: int) -> Float[np.ndarray, " optimizers"]:
    """Return the mean rank of each optimizer on what it selects minus that on all architectures.

    Negative: an optimizer is better placed on the architectures that it chose. All architectures
    stand for random ones, whose expectation is theirs.
    """
    ranked = ranks(score)
    own = ranked[selected(fitness, k)].mean(axis=1)
    return np.diagonal(own) - ranked.mean(axis=0)


class Shares(NamedTuple):
    """Shares of the variance of the scores; they sum to 1."""

    architecture: float
    optimizer: float
    interaction: float
    seed: float


def variance_shares(score: Float[np.ndarray, "architectures optimizers seeds"]) -> Shares:
    """Divide the variance of a table with repetitions, by the method of moments.

    The components are those of a two-way analysis of variance with random effects; a negative
    estimate counts as 0. With one seed there is no telling it from the interaction, and it is 0.
    """
    a, o, s = score.shape
    cells = score.mean(axis=2)
    rows, columns, mean = cells.mean(axis=1), cells.mean(axis=0), cells.mean()
    rest = cells - rows[:, None] - columns + mean
    within = score.var(axis=2, ddof=1).mean() if s > 1 else 0.0
    both = s * np.square(rest).sum() / ((a - 1) * (o - 1))
    squares = (o * s * rows.var(ddof=1), a * s * columns.var(ddof=1))
    between = (squares[0] - both) / (o * s), (squares[1] - both) / (a * s)
    components = np.array([*between, (both - within) / s, within])
    components = components.clip(min=0)
    total = components.sum()
    return Shares(*(components / total if total > 0 else np.full(4, np.nan)).tolist())


def breadth(scores: Scores, tolerance: float) -> Cells:
    """Count the learning rates whose mean score is within `tolerance` of the best one's."""
    mean = np.where(np.isnan(scores).any(axis=-1), -np.inf, scores.mean(axis=-1))
    return (mean >= mean.max(axis=-1, keepdims=True) - tolerance).sum(axis=-1).astype(float)


def joint_score(fitness: Cells, score: Cells, k: int) -> float:
    """Return the mean score of the k best architectures, each with its best optimizer."""
    best = np.argsort(-fitness.max(axis=1), kind="stable")[:k]
    return float(score[best, fitness[best].argmax(axis=1)].mean())


def statistics(search: Scores, test: Scores, k: int, tolerance: float) -> Statistics:
    """Compute every statistic of one table.

    Returns:
        `transfer` and `interaction` (optimizers, optimizers), `random`, `advantage_of_own` (the
        diagonal of the interaction), `rank_shift`, `regret` (what the joint search gains over a
        search with one optimizer) and `breadth` (optimizers), `diagonal_advantage` and `joint` (a
        number each), `shares` (4).
    """
    rate = tuned(search, test)
    score = rate.score.mean(axis=-1)
    table = transfer(rate.fitness, score, k)
    interaction = double_centred(table)
    joint = joint_score(rate.fitness, score, k)
    return {
        "transfer": table,
        "interaction": interaction,
        "random": score.mean(axis=0),
        "advantage_of_own": np.diagonal(interaction).copy(),
        "rank_shift": rank_shift(rate.fitness, score, k),
        "regret": joint - np.diagonal(table),
        "breadth": breadth(test, tolerance).mean(axis=0),
        "diagonal_advantage": np.asarray(diagonal_advantage(table)),
        "joint": np.asarray(joint),
        "shares": np.asarray(variance_shares(rate.score)),
    }


def resampled(
    search: Scores, test: Scores, draws: int, rng: np.random.Generator
) -> Iterator[tuple[Scores, Scores]]:
    """Draw architectures, search seeds and test seeds with replacement, again and again."""
    for _ in range(draws):
        rows = rng.integers(len(search), size=len(search))
        seeds = [rng.integers(table.shape[-1], size=table.shape[-1]) for table in (search, test)]
        yield search[rows][..., seeds[0]], test[rows][..., seeds[1]]


def bootstrap(
    statistic: Callable[[Scores, Scores], Statistics],
    search: Scores,
    test: Scores,
    draws: int,
    rng: np.random.Generator,
) -> tuple[Statistics, Statistics]:
    """Return the ends of the 95 % intervals of statistics, tuning and selection included."""
    drawn = [statistic(*tables) for tables in resampled(search, test, draws, rng)]
    stacked = {name: np.stack([one[name] for one in drawn]) for name in drawn[0]}
    low, high = ({name: np.quantile(x, q, axis=0) for name, x in stacked.items()} for q in ENDS)
    return low, high


class Null(NamedTuple):
    """Draws without the effect: the diagonal advantage, and the diagonal of the interaction."""

    diagonal_advantage: Float[np.ndarray, " draws"]
    advantage_of_own: Float[np.ndarray, "draws optimizers"]


def permuted(fitness: Cells, score: Cells, k: int, draws: int, rng: np.random.Generator) -> Null:
    """Permute, on each architecture, which optimizer a fitness belongs to.

    Fitness is first measured from the mean of its optimizer, so that what is permuted is what is
    left of it beside architecture and optimizer: without interaction, labels mean nothing.
    """
    centred = fitness - fitness.mean(axis=0)
    return _null((rng.permuted(centred, axis=1) for _ in range(draws)), score, k)


def placebo(fitness: Cells, score: Cells, k: int, draws: int, rng: np.random.Generator) -> Null:
    """Shuffle which architecture a fitness belongs to, under each optimizer by itself."""
    return _null((rng.permuted(fitness, axis=0) for _ in range(draws)), score, k)


def p_value(observed: float, null: Float[np.ndarray, " draws"]) -> float:
    """Return how often chance alone does as well; the observed case counts as one draw."""
    # Numbers that differ by rounding alone count as equal.
    return float((1 + (null >= observed - 1e-9).sum()) / (1 + len(null)))


def _null(fitnesses: Iterator[Cells], score: Cells, k: int) -> Null:
    tables = [transfer(fitness, score, k) for fitness in fitnesses]
    return Null(
        np.array([diagonal_advantage(table) for table in tables]),
        np.array([np.diagonal(double_centred(table)) for table in tables]),
    )
