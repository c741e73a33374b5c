"""Jobs of pieces that do not depend on each other: each is computed once, by one process or many.

Every process claims a piece that is not there, computes it, writes it, and claims the next one.
Processes may come and go at any moment. The piece of a killed one is free again at once, so that
others compute it; the same command continues a job that all have left.
"""

import time
from collections.abc import Callable, Mapping

import xarray as xr

from experiments.setup.clock import timed
from experiments.storage.job import Job

PERIOD = 0.5  # seconds between two looks at what the other processes have done

Pieces = Mapping[str, Callable[[], xr.Dataset]]
Report = Callable[[str, int, int], None]


def computed(
    job: Job,
    configuration: str,
    pieces: Callable[[], Pieces],
    joined: Callable[[dict[str, xr.Dataset]], xr.Dataset],
    report: Report,
    shared: bool = False,
) -> xr.Dataset:
    """Compute the pieces that are not there yet, and return the results of the whole job.

    Args:
        job: Folder and identity; its results are read and not computed if they are there.
        configuration: All that the numbers depend on, as YAML.
        pieces: Returns what computes each piece, in the order in which they are tried.
        joined: Makes the results from all pieces, in that order.
        report: Called with the piece in work, the pieces done, and the pieces in total.
        shared: Let other processes take part.

    Raises:
        ValueError: Something in the folder is damaged or of another job; it stays.
        OSError: Something could not be written; what was written before stays.
    """
    with job.working(configuration, shared) as whole:
        wanted = pieces() if whole is None else {}
        if not shared:  # find out what is damaged before minutes are spent
            for name in wanted:
                if not job.needs(name):
                    job.load(name)
        while whole is None:
            try:
                _compute_what_is_free(job, wanted, report)
                _finish(job, wanted, joined)
            except FileNotFoundError:
                # Another process has finished the job, and removed the pieces on the way.
                if job.finished() is None:
                    raise
            if (whole := job.finished()) is None:
                report("waiting", job.complete, len(wanted))
                time.sleep(PERIOD)
    return whole


def _compute_what_is_free(job: Job, pieces: Pieces, report: Report) -> None:
    """Compute one piece after another, until every one is complete or claimed by others."""
    for name, compute in pieces.items():
        if not job.needs(name):
            continue
        with job.claimed(name) as mine:
            if mine and job.needs(name):
                report(name, job.complete, len(pieces))
                job.save(name, *timed(compute))
                report(name, job.complete, len(pieces))


def _finish(
    job: Job, pieces: Pieces, joined: Callable[[dict[str, xr.Dataset]], xr.Dataset]
) -> None:
    with job.claimed("results") as mine:
        if mine and job.finished() is None and not any(map(job.needs, pieces)):
            parts, seconds = zip(*map(job.load, pieces), strict=True)
            job.finish(joined(dict(zip(pieces, parts, strict=True))), sum(seconds))
