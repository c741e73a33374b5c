import pytest

from experiments.analysis.table import Table
from experiments.benchmarks import PARTS
from experiments.commands import bench


def test_help_says_what_there_is_to_measure(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--help"])
    said = capsys.readouterr().out
    assert all(name in said and told.subject in said for name, told in PARTS.items())


def test_an_unknown_part_is_refused_in_one_line(capsys):
    with pytest.raises(SystemExit):
        bench.main(["speed"])
    *_, error = capsys.readouterr().err.splitlines()
    assert f"speed: choose from {', '.join(PARTS)}" in error


def test_tables_and_sentences_of_a_part_are_printed(capsys, monkeypatch, tmp_path):
    def made_up():
        yield "a sentence with 10 numbers"
        yield Table("a title", ["name", "number"], [["one", "1.5"]])

    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(bench, "part", lambda name: made_up)
    bench.main(["cost"])
    said = capsys.readouterr().out
    assert "a sentence with 10 numbers" in said
    assert "a title" in said and "1.5" in said
    assert "[cost: 0 s]" in said
