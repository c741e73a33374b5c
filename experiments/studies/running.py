"""The parts of a study in a folder: each is computed once, however often the study is killed."""

from pathlib import Path

import xarray as xr

from experiments.runs import pieces
from experiments.storage.job import Job, Kind
from experiments.studies.study import AbstractStudy


def run(
    study: AbstractStudy, folder: Path, configuration: str, report: pieces.Report
) -> xr.Dataset:
    """Compute what is not there yet, and return the results of the whole study.

    Args:
        study: The study.
        folder: Where parts and results are kept.
        configuration: All that the numbers depend on, as YAML.
        report: Called with the part in work, the parts done, and the parts in total.
    """
    name = f"{type(study).__module__}.{type(study).__qualname__}"
    identity = {"study": name, "configuration": configuration}

    def joined(parts: dict[str, xr.Dataset]) -> xr.Dataset:
        return study.joined(parts).assign_attrs(identity, title=study.title)

    job = Job(folder, Kind.STUDY, identity, cut={})
    return pieces.computed(job, configuration, study.parts, joined, report)
