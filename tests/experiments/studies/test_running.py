import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import xarray as xr

from experiments.storage.files import load_text
from experiments.storage.job import provenance
from experiments.studies import running as parts
from experiments.studies.study import AbstractStudy, Shown


@dataclass(frozen=True)
class Squares(AbstractStudy):
    """Squares of some numbers, one a part; `computed` counts, and one number cannot be squared."""

    title: ClassVar[str] = "How large are squares?"
    numbers: list[int]
    computed: list[int] = field(default_factory=list)
    broken: int | None = None

    def parts(self) -> Mapping[str, Callable[[], xr.Dataset]]:
        def part(number: int) -> Callable[[], xr.Dataset]:
            def compute() -> xr.Dataset:
                if number == self.broken:
                    raise KeyboardInterrupt
                self.computed.append(number)
                return xr.Dataset({"square": number**2})

            return compute

        return {str(number): part(number) for number in self.numbers}

    def joined(self, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        return xr.concat(parts.values(), "number", combine_attrs="drop")

    @staticmethod
    def show(results):
        return Shown(results, [], [], {})


def ignore(*progress):
    pass


def test_a_study_continues_with_the_part_that_was_not_done(tmp_path):
    broken = Squares([2, 3, 4], broken=3)
    with pytest.raises(KeyboardInterrupt):
        parts.run(broken, tmp_path, "configuration", ignore)
    assert [path.name for path in tmp_path.glob("pieces/*.nc")] == ["2.nc"]
    whole = Squares([2, 3, 4])
    joined = parts.run(whole, tmp_path, "configuration", ignore)
    assert whole.computed == [3, 4]
    assert joined.square.values.tolist() == [4, 9, 16]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".lock", "job.json", "config.yaml", "results.nc", "seconds.json"}
    # Finished: shown again, not computed again.
    again = Squares([2, 3, 4])
    assert parts.run(again, tmp_path, "configuration", ignore).identical(joined)
    assert not again.computed


def test_progress_counts_the_parts(tmp_path):
    seen = []
    parts.run(Squares([2, 3]), tmp_path, "", lambda *progress: seen.append(progress))
    assert seen == [("2", 0, 2), ("2", 1, 2), ("3", 1, 2), ("3", 2, 2)]


@pytest.mark.parametrize("name", ["2.nc", "results.nc"])
def test_what_is_damaged_or_of_another_configuration_is_named_and_stays(tmp_path, name):
    study = Squares([2, 3], broken=3 if name == "2.nc" else None)
    with contextlib.suppress(KeyboardInterrupt):
        parts.run(study, tmp_path, "one", ignore)
    (path,) = tmp_path.rglob(name)
    content = path.read_bytes()
    with pytest.raises(ValueError, match=r"is of another configuration \(one there, another here"):
        parts.run(Squares([2, 3]), tmp_path, "another", ignore)
    assert load_text(tmp_path / "config.yaml") == "one"
    assert path.read_bytes() == content
    path.write_bytes(content[:100])
    again = Squares([2, 3])
    with pytest.raises(ValueError, match=rf"{name} is damaged.*; delete it to have it computed"):
        parts.run(again, tmp_path, "one", ignore)
    assert path.read_bytes() == content[:100] and not again.computed
    path.unlink()
    assert parts.run(again, tmp_path, "one", ignore).square.values.tolist() == [4, 9]


def test_the_results_say_what_made_them(tmp_path):
    attrs = parts.run(Squares([2]), tmp_path, "configuration", ignore).attrs
    assert attrs["study"].endswith("Squares") and attrs["title"] == Squares.title
    assert attrs["configuration"] == "configuration"
    assert attrs["kind"] == "study" and attrs.items() >= provenance().items()
