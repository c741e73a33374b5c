import argparse

import pytest

from experiments.commands import bench


def test_parts_are_all_unless_some_are_named_and_a_wrong_one_is_told(capsys):
    parser = argparse.ArgumentParser()
    bench.add_parts(parser, {"cost": "of time", "lanes": "in one program"})
    assert parser.parse_args([]).parts == ["cost", "lanes"]
    assert parser.parse_args(["lanes"]).parts == ["lanes"]
    with pytest.raises(SystemExit):
        parser.parse_args(["lanes", "costs"])
    assert "costs: choose from cost, lanes" in capsys.readouterr().err


def test_every_part_is_measured_by_something():
    from experiments.benchmarks.__main__ import PARTS

    assert list(bench.PARTS) == list(PARTS)
