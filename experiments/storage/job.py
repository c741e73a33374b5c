"""Jobs: one protocol by which runs, cells, sweeps, studies and grids store and resume their work.

A folder is of one job, which has a kind and an identity: what its numbers depend on. Every file
that is read back says what it is of, and is refused by another job and in another place.

    folder/job.json          what the folder is of; written before all others
    folder/config.yaml       the whole configuration, for people
    folder/.lock             locked by the process that works in the folder
    folder/pieces/NAME.nc    one piece of the results
    folder/pieces/NAME.lock  claimed by the process that computes the piece
    folder/checkpoint        state after some pieces, where each piece continues the one before
    folder/seconds.json      wall-clock time and where it was measured; results are the same bits
    folder/results.nc        the results: the job is finished, and its pieces are removed

All of these are whole or absent, so that a process can be killed at any moment.
"""

import contextlib
import io
import itertools
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import xarray as xr
from jaxtyping import PyTree

import rodflow
from experiments.storage import files, results
from experiments.storage.locks import claimed
from experiments.storage.measured import circumstances

MARKER = "job.json"
NAMES = {"kind": "kind", "piece": "piece", "source": "version", "device": "kind of device"}
"""How messages call what files are compared by; the rest is the configuration."""


class Kind(StrEnum):
    """Kinds of jobs; the results of a job have its kind as their attribute `kind`."""

    RUN = "run"  # one optimizer on one problem
    CELL = "cell"  # one place of a grid: a run with several seeds
    SWEEP = "sweep"  # a run with lanes
    STUDY = "study"  # whatever answers a question
    GRID = "grid"  # optimizers x problems, with a cell for each below its folder


@dataclass(frozen=True)
class Job:
    """A folder and what it is of.

    Attributes:
        folder: Place of all files.
        kind: One of the kinds above.
        identity: All that the numbers depend on, as texts by name.
        cut: How the job is cut, which matters as long as there are pieces; None if there are none.
    """

    folder: Path
    kind: Kind
    identity: Mapping[str, str]
    cut: Mapping[str, str] | None = None

    def finished(self) -> xr.Dataset | None:
        """Return the results, or None if there are none yet; remove what is no longer needed.

        Raises:
            ValueError: The results are damaged or of another job; they stay.
        """
        if not self._results.exists():
            return None
        found = results.load(self._results)
        _check_same(self._results, _told(found), self._told)
        with contextlib.suppress(OSError):  # a folder that cannot be written can still be read
            shutil.rmtree(self._pieces, ignore_errors=True)
            for path in (self._checkpoint, *self.folder.glob(".*.tmp")):
                path.unlink(missing_ok=True)
        return found

    def check(self) -> xr.Dataset | None:
        """Return the results as `finished` does, but refuse a folder with anything of another job.

        Raises:
            ValueError: Something there is damaged or of another job.
        """
        whole = self.finished()
        wanted, marker = self._made if whole is None else self._told, self.folder / MARKER
        try:
            _check_same(marker, files.load(marker)[0], wanted)
        except FileNotFoundError:  # the other files have to tell
            for path in self._pieces.glob("*.nc"):
                self.load(path.stem)
            if self._checkpoint.exists():
                _check_same(self._checkpoint, files.load(self._checkpoint)[0], wanted)
        return whole

    @contextlib.contextmanager
    def working(
        self, configuration: str = "", shared: bool = False, wait: bool = False
    ) -> Iterator[xr.Dataset | None]:
        """Prepare the folder, and keep other processes out of it for as long as this one works.

        Args:
            configuration: Content of `config.yaml`; there is no such file if it is empty.
            shared: Let other processes work in the folder too; they share pieces by claims.
            wait: Wait for a process that works in the folder, instead of raising an error.

        Yields:
            The results if the job is finished, in which case nothing is written; None otherwise.

        Raises:
            ValueError: The folder is in use, or holds something of another job; all stays.
            OSError: It cannot be written.

        After an error, nothing stays of a job that has begun but has nothing to keep.
        """
        with contextlib.ExitStack() as lock:
            if (whole := self.check()) is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                if not lock.enter_context(claimed(self.folder / ".lock", wait or shared)):
                    raise ValueError(f"{self.folder} is in use by another process; wait or stop it")
                whole = self.check()  # another process may have begun or ended meanwhile
            if whole is None:
                if not (self.folder / MARKER).exists():
                    if not shared:
                        lock.push(self._withdraw)
                    files.save(self.folder / MARKER, self._made)
                if configuration:
                    files.save_text(self.folder / "config.yaml", configuration)
                if self.cut is not None:
                    self._pieces.mkdir(exist_ok=True)
            if shared:
                lock.close()
            yield whole

    def _withdraw(self, error: type[BaseException] | None, *_: object) -> None:
        """Leave nothing of a job that failed before it had anything to keep."""
        prepared = {".lock", MARKER, "config.yaml", self._pieces.name}
        there = {path.name for path in self.folder.iterdir()}
        if error and there <= prepared and not self.complete:
            shutil.rmtree(self._pieces, ignore_errors=True)
            for name in ("config.yaml", MARKER, ".lock"):
                (self.folder / name).unlink(missing_ok=True)

    def claimed(self, name: str) -> contextlib.AbstractContextManager[bool]:
        """Claim a piece, or another name among the pieces, as `experiments.storage.locks` does."""
        return claimed(self._pieces / f"{name}.lock")

    def needs(self, name: str) -> bool:
        """Return True if a piece is not there, nor the results."""
        # Pieces are gone once there are results: asked in this order, none is missed.
        return not self._piece(name).exists() and not self._results.exists()

    @property
    def complete(self) -> int:
        """The number of pieces that are there."""
        with contextlib.suppress(FileNotFoundError):  # removed by another process meanwhile
            return len(list(self._pieces.glob("*.nc")))
        return 0

    def save(self, name: str, piece: xr.Dataset, seconds: float) -> None:
        """Write a piece, which took so many seconds."""
        told = self._made | {"piece": name, "seconds": seconds}
        results.save(piece.assign_attrs(job=json.dumps(told)), self._piece(name))

    def load(self, name: str) -> tuple[xr.Dataset, float]:
        """Read a piece, and the seconds that it took.

        Raises:
            FileNotFoundError: There is no such piece.
            ValueError: It is damaged, or of another job, or another piece; or there is none,
                though a checkpoint continues it.
        """
        path, continued = self._piece(name), self._checkpoint.exists()
        if continued and not path.exists():
            raise ValueError(f"{path} is missing; delete {self.folder} to begin again")
        deleted = self.folder if continued else "it"
        data = results.load(path, f"delete {deleted} to have it computed again")
        told = json.loads(data.attrs.pop("job", "{}"))
        _check_same(path, told, self._made | {"piece": name})
        return data, told["seconds"]

    def save_checkpoint(self, state: PyTree, done: int) -> None:
        """Write the state after so many pieces; the checkpoint before it stays if that fails."""
        content = io.BytesIO()
        eqx.tree_serialise_leaves(content, state)
        files.save(self._checkpoint, self._made | {"done": done}, content.getvalue())

    def load_checkpoint(self, like: PyTree) -> tuple[PyTree, int]:
        """Read the state, in the structure of `like`, and the number of pieces before it.

        Raises:
            FileNotFoundError: There is no checkpoint.
            ValueError: It is damaged, of another job, or of a state of another structure.
        """
        header, content = files.load(self._checkpoint)
        _check_same(self._checkpoint, header, self._made)
        try:
            return eqx.tree_deserialise_leaves(io.BytesIO(content), like), int(header["done"])
        except Exception as error:  # whatever Equinox meets in a state of another structure
            raise ValueError(f"{self._checkpoint} is the checkpoint of another state") from error

    def finish(self, whole: xr.Dataset, seconds: float, **times: Any) -> xr.Dataset:
        """Write the results and `seconds.json`, and return the results as they are read."""
        beside = {"seconds": seconds, "measured": circumstances()} | times
        files.save(self.folder / "seconds.json", self._told | beside)
        told = {"kind": str(self.kind), "identity": json.dumps(dict(self.identity))}
        results.save(whole.assign_attrs(told | provenance()), self._results)
        found = self.finished()
        assert found is not None
        return found

    @property
    def _told(self) -> dict[str, Any]:
        return {"kind": str(self.kind), **self.identity}

    @property
    def _made(self) -> dict[str, Any]:
        # Half a job by one version and half by another would be the job of neither.
        return self._told if self.cut is None else {**self._told, **self.cut, **provenance()}

    @property
    def _results(self) -> Path:
        return self.folder / "results.nc"

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    @property
    def _pieces(self) -> Path:
        return self.folder / "pieces"

    def _piece(self, name: str) -> Path:
        return self._pieces / f"{name}.nc"


def provenance() -> dict[str, str]:
    """Return what makes numbers: they are the same bit for bit only if this is."""
    source = f"rodflow {rodflow.__version__}, jax {jax.__version__}"
    return {"source": source, "device": jax.devices()[0].device_kind}


def seconds_beside(path: Path, found: xr.Dataset) -> dict[str, Any]:
    """Return what the `seconds.json` beside some results says, or nothing if it is not of them."""
    try:
        told = files.load(path.with_name("seconds.json"))[0]
    except (OSError, ValueError):
        return {}
    return told if told.items() >= _told(found).items() else {}


def _told(found: xr.Dataset) -> dict[str, Any]:
    return {"kind": found.attrs.get("kind"), **json.loads(found.attrs.get("identity", "{}"))}


def _check_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if found.get(key) != value:
            old, new = str(found.get(key, "nothing")).splitlines(), str(value).splitlines()
            pairs = itertools.zip_longest(old, new, fillvalue="nothing")
            was, now = next((pair for pair in pairs if pair[0] != pair[1]), ("nothing", str(value)))
            differing = f"{was.strip(' ,')} there, {now.strip(' ,')} here"
            raise ValueError(
                f"{path} is of another {NAMES.get(key, 'configuration')} ({differing}); choose "
                "another folder with hydra.run.dir=FOLDER, or delete this one"
            )
