"""The parts of a study in a folder: each is computed once, however often the study is killed.

folder/config.yaml      what the study is
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

from experiments.storage import results
from experiments.storage.files import remove_leftovers, write_atomically
from experiments.studies.study import AbstractStudy


def run(
    study: AbstractStudy, folder: Path, configuration: str, report: Callable[[str, int, int], None]
) -> xr.Dataset:
    """Compute what is not there yet, and return the results of the whole study.

    Args:
        study: what to compute.
        folder: where parts and results are kept; it has to exist.
        configuration: all that the numbers depend on, as YAML.
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
        finished = _load(whole, configuration)
        remove_leftovers(folder, "part-*.nc")
        return finished
    # Half a study by one version and half by another would be the study of neither.
    identity = json.dumps(labels)
    parts = study.parts()
    paths = {name: folder / f"part-{name}.nc" for name in parts}
    done = {name: _load(path, identity) for name, path in paths.items() if path.exists()}
    # Now that nothing in the folder is of another study.
    write_atomically(folder / "config.yaml", configuration.encode())
    for name, compute in parts.items():
        report(name, len(done), len(parts))
        if name not in done:
            begin = time.perf_counter()
            computed = compute()
            took = time.perf_counter() - begin
            results.save(computed.assign_attrs(configuration=identity, seconds=took), paths[name])
            done[name] = _load(paths[name], identity)
            report(name, len(done), len(parts))
    # As a run that was never interrupted has them: in the order of the parts, from their files.
    done = {name: done[name] for name in parts}
    seconds = sum(part.attrs["seconds"] for part in done.values())
    results.save(study.joined(done).assign_attrs(labels, seconds=seconds), whole)
    remove_leftovers(folder, "part-*.nc")
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
