"""Flipped bits in files that reports and the documentation read: refused, or nothing changes."""

import random

import numpy as np
import pytest
import xarray as xr

from experiments.analysis.table import Table
from experiments.configuration import config as configuration
from experiments.report import data, published, stored
from experiments.storage import files
from experiments.storage.job import Job, Kind

ABOUT = published.Circumstances(["0" * 40], "2026-01-31", "a machine, 2 cores", {"jax": "0.10.2"})


def a_file_of_results(folder):
    table = Table("Speeds", ["", "rate"], [["gd", 1.5], ["adam", 12345]], {"rate": ".2f"})
    found = published.Published("speed", "How fast?", "bench", ABOUT, {"speeds": table}, ["Fast."])
    return published.save(found, folder), lambda: published.load("speed", folder)


def a_data_set(folder):
    made = xr.Dataset({"loss": ("step", np.array([0.5, np.nan, 3.0]))}, {"step": [1, 2, 3]})
    path = folder / "speed.data.json"
    path.write_text(data.text(made))
    return path, lambda: data.load(path).to_dict()


def a_configuration(folder):
    composed = configuration.composed("study", ["study=tiny", "num_steps=20", "kappa=0.125"])
    told = configuration.OmegaConf.to_yaml(composed, resolve=True)
    with Job(folder, Kind.GRID, {}).working(told):
        pass
    return folder / "config.yaml", lambda: stored.command("tiny", folder)


@pytest.mark.parametrize("make", [a_file_of_results, a_data_set, a_configuration])
def test_a_flipped_bit_is_refused_in_a_sentence_or_changes_nothing(make, tmp_path):
    path, read = make(tmp_path)
    content, expected = path.read_bytes(), repr(read())
    draw, refused = random.Random(0), 0
    for place in (draw.randrange(8 * len(content)) for _ in range(COUNT[make])):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            assert repr(read()) == expected
        except ValueError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > COUNT[make] / 2


COUNT = {a_file_of_results: 400, a_data_set: 400, a_configuration: 25}
"""Composing a configuration, to say what differs from its defaults, takes most of the time."""


def test_every_bit_of_a_configuration(tmp_path):
    path, _ = a_configuration(tmp_path)
    content, expected = path.read_bytes(), files.load_text(path)
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            # Without its mark, a checksum is one comment more.
            assert files.load_text(path).startswith(expected)
        except ValueError as error:
            assert str(error) == f"{path} is damaged; delete it and repeat the command"
