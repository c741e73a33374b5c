"""The parts of a study in a folder: each is computed once, however often the study is killed.

folder/part-NAME.nc     a part that is done
folder/results.nc       all of them joined: the study is finished, and its parts are removed
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from experiments import results
from experiments.studies.study import AbstractStudy


def run(
    study: AbstractStudy, folder: Path, configuration: str, report: Callable[[str, int, int], None]
) -> xr.Dataset:
    """Compute what is not there yet, and return the results of the whole study.

    Args:
        study: what to compute.
        folder: where parts and results are kept; it has to exist.
        configuration: all that the numbers depend on, as text.
        report: called with the part in work, the parts done, and the parts in total.

    Raises:
        ValueError: what is in the folder is damaged, or of another configuration; it stays.
        OSError: something could not be written; what was written before stays.
    """
    labels: dict[str, Any] = {
        "study": f"{type(study).__module__}.{type(study).__qualname__}",
        "title": study.title,
        "configuration": configuration,
        "source": results.source(),
        "device": jax.devices()[0].device_kind,
    }
    whole = folder / "results.nc"
    if whole.exists():
        return _load(whole, configuration)
    # Half a study by one version and half by another would be the study of neither.
    identity = json.dumps(labels)
    parts = study.parts()
    done: dict[str, xr.Dataset] = {}
    seconds = 0.0
    for name, compute in parts.items():
        report(name, len(done), len(parts))
        path = folder / f"part-{name}.nc"
        if not path.exists():
            begin = time.perf_counter()
            computed = compute()
            took = time.perf_counter() - begin
            results.save(computed.assign_attrs(configuration=identity, seconds=took), path)
        done[name] = _load(path, identity)
        seconds += done[name].attrs["seconds"]
        report(name, len(done), len(parts))
    # As a run that was never interrupted has them: in the order of the parts, from their files.
    results.save(study.joined(done).assign_attrs(labels, seconds=seconds), whole)
    for name in parts:
        (folder / f"part-{name}.nc").unlink(missing_ok=True)
    return _load(whole, configuration)


def _load(path: Path, configuration: str) -> xr.Dataset:
    try:
        loaded = results.load(path)
    except Exception as error:
        raise ValueError(f"{path} is damaged; delete it to compute it again") from error
    if loaded.attrs.get("configuration") != configuration:
        raise ValueError(
            f"{path} is of another configuration or version; choose another folder with "
            "hydra.run.dir=FOLDER, or delete it"
        )
    return loaded
