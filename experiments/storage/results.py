"""Labelled data sets in netCDF files that are whole or absent, and notice any damage.

The checksum of a file stands behind its last byte, where readers of netCDF do not look; variables
have checksums of netCDF too, for whoever reads the file with other tools.
"""

import hashlib
import threading
from pathlib import Path

import xarray as xr

from experiments.storage.files import write_atomically

_NETCDF = threading.Lock()  # the C library can be in one thread at a time
_DIGEST = hashlib.sha256().digest_size


def save(dataset: xr.Dataset, path: Path) -> None:
    """Write a data set as netCDF 4, atomically.

    Raises:
        OSError: It could not be written; whatever was there before still is.
    """
    with _NETCDF:
        summed = {name: {"fletcher32": True} for name, x in dataset.data_vars.items() if x.ndim}
        content = bytes(dataset.to_netcdf(engine="netcdf4", encoding=summed))
    write_atomically(path, content + hashlib.sha256(content).digest())


def load(path: Path, remedy: str = "delete it to have it computed again") -> xr.Dataset:
    """Read a data set into memory.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, or was not written by `save`; the message ends with the remedy.
    """
    content = path.read_bytes()
    content, digest = content[:-_DIGEST], content[-_DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError(f"{path} is damaged or of another program; {remedy}")
    with _NETCDF:
        return xr.load_dataset(content, engine="netcdf4")
