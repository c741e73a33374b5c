import numpy as np
import pytest
import xarray as xr

from experiments.configuration.functions import Loss
from experiments.storage import results
from experiments.studies import running as parts
from experiments.studies.coevolution.study import Coevolution
from experiments.studies.study import markdown, shown_of

NAME = "experiments.studies.coevolution.study.Coevolution"
SETTINGS = {
    "architectures": 12,
    "architecture_seed": 0,
    "optimizers": {"sgd": 0.1, "adam": 0.01, "lion": 0.001, "adam_rotated": 0.01},
    "points": 5,
    "spacing": 0.5,
    "widening": 1,
    "widenings": 2,
    "search_seeds": [0, 1],
    "test_seeds": [2, 3],
    "steps": 10,
    "training": 20,
    "held_out": 20,
    "loss": Loss.squared_error,
    "lanes": 4,
    "selected": 3,
    "tolerance": 2.0,
    "draws": 50,
    "loop_runs": 2,
}


def study(**changes):
    return Coevolution(**(SETTINGS | changes))


def made_up(coevolution, suits=0.0):
    """Parts as they are stored, in which each architecture suits one optimizer by `suits`."""
    rng = np.random.default_rng(0)
    count, points = coevolution.architectures, np.arange(-4, 5)
    seeds = [*coevolution.search_seeds, *coevolution.test_seeds]
    dims = ("architecture", "point", "seed")
    quality = rng.normal(size=(count, 1, 1))
    made = {}
    for index, (name, middle) in enumerate(coevolution.optimizers.items()):
        suited = (np.arange(count) % 3 == index % 3)[:, None, None]
        decades = -1 + 0.3 * quality - suits * suited + 0.4 * abs(points[:, None])
        loss = 10 ** (decades + 0.02 * rng.normal(size=(count, len(points), len(seeds))))
        tried = np.broadcast_to(abs(points)[:, None] <= 2, loss.shape)
        part = xr.Dataset(
            {
                "loss": (dims, np.where(tried, loss, np.nan)),
                "initial": (dims, np.where(tried, 2.0, np.nan)),
                "accuracy": (dims, np.where(tried, 0.5, np.nan)),
                "learning_rate": ("point", middle * 10 ** (0.5 * points)),
                "sharpness": (("architecture", "test_seed"), 10 ** rng.normal(size=(count, 2))),
                "compile_seconds": 3.0,
                "run_seconds": 5.0,
                "runs": 240,
            },
            {"architecture": np.arange(count), "point": points, "seed": seeds},
        )
        made[name] = part.expand_dims(optimizer=[name])
    made["loop"] = xr.Dataset(
        {
            "loop_compile_seconds": ("way", [3.0, 2.0, 1.0]),
            "loop_run_seconds": ("way", [0.1, 0.3, 0.2]),
            "loop_arithmetic": ("operation", [1e9, 1e7]),
            "loop_fastest": ("operation", [2e10, 1e9]),
            "loop_optimizer": "sgd",
        },
        {"way": ["lanes", "one", "own"], "operation": ["products", "functions"]},
    )
    return made


def finished(tmp_path, coevolution, made):
    """Through files, as in a run."""
    stored = {}
    for name, part in made.items():
        results.save(part, tmp_path / f"{name}.nc")
        stored[name] = results.load(tmp_path / f"{name}.nc")
    joined = coevolution.joined(stored).assign_attrs(study=NAME)
    results.save(joined, tmp_path / "results.nc")
    return results.load(tmp_path / "results.nc")


def test_a_planted_interaction_is_found_and_said(tmp_path):
    coevolution = study()
    found = finished(tmp_path, coevolution, made_up(coevolution, suits=0.5))
    assert list(found.optimizer.values) == ["sgd", "adam", "lion", "adam_rotated"]
    assert float(found.diagonal_advantage) > 0.3 and float(found.p_value) < 0.05
    assert float(found.p_value) < 0.05 and not found.edge_hit.any() and found.learned.all()
    text = markdown(shown_of(found))
    assert "- Architectures suit the optimizer that they were selected under" in text
    assert "Limits:" in text and "| adam_rotated |" in text
    assert "Adam is not shown to depend on the basis" in text


@pytest.mark.parametrize(
    ("factor", "said"),
    [(10, "better in its own basis than in a random"), (0.1, "better in a random basis than")],
)
def test_which_basis_is_better_is_said(tmp_path, factor, said):
    coevolution = study()
    made = made_up(coevolution)
    made["adam_rotated"]["loss"] = factor * made["adam_rotated"]["loss"]
    text = markdown(shown_of(finished(tmp_path, coevolution, made)))
    assert f"Adam is {said}" in text


def test_without_interaction_nothing_is_claimed(tmp_path):
    coevolution = study(optimizers={"sgd": 0.1, "adam": 0.01, "lion": 0.001})
    found = finished(tmp_path, coevolution, made_up(coevolution))
    assert abs(float(found.diagonal_advantage)) < 0.1
    text = markdown(shown_of(found))
    assert "It is not shown that architectures suit" in text
    assert "Adam is not told from the others" in text and "basis" not in text
    drawn = shown_of(found).figures()
    assert {name: len(figure.axes) for name, figure in drawn.items()} == {
        "coevolution_transfer": 3,
        "coevolution_learning_rates": 3,
        "coevolution_sharpness": 3,
    }


def test_what_is_within_rounding_of_nothing_is_nothing(tmp_path):
    coevolution = study(optimizers={"sgd": 0.1, "adam": 0.01, "lion": 0.001})
    made = made_up(coevolution)
    for factor, name in zip((1, 1 - 1e-9, 1 + 1e-9), coevolution.optimizers, strict=True):
        made[name]["loss"] = factor * made["sgd"]["loss"].drop_vars("optimizer")
    found = finished(tmp_path, coevolution, made)
    assert (found.interaction == 0).all() and found.diagonal_advantage_high == 0
    assert "It is not shown that architectures suit" in markdown(shown_of(found))


def test_what_lanes_are_worth_is_said_with_a_bound(tmp_path):
    coevolution = study()
    text = markdown(shown_of(finished(tmp_path, coevolution, made_up(coevolution))))
    assert "Lanes run 3.0 times as fast as a loop" in text
    assert "no program of these gradients is more than 5.0 times faster" in text
    # 240 compilations of a second and runs of .2 s, against one of 3 s and runs of .1 s.
    assert "| a program for each run | 5.00 | 240 | 2.0 | 11 |" in text


def test_optimizers_are_checked():
    with pytest.raises(ValueError, match=r"optimizers\.newton: no such optimizer"):
        study(optimizers={"sgd": 0.1, "newton": 1.0})
    with pytest.raises(ValueError, match="at least two"):
        study(optimizers={"adam": 0.1, "adam_rotated": 0.1})


@pytest.mark.slow
def test_a_study_from_beginning_to_end(tmp_path):
    tiny = study(architectures=4, points=3, selected=2, widenings=1, draws=20)
    reported = []
    found = parts.run(tiny, tmp_path, "all: settings", lambda *what: reported.append(what))
    tried = found.initial.notnull()
    assert (found.loss.notnull() == tried).all()
    assert tried.sel(optimizer="sgd", point=[-1, 0, 1]).all()
    known = found.sharpness.notnull().sum(("architecture", "test_seed"))
    # Of Adam not all of 8: the last step may wake a ReLU whose second moments are still 0.
    assert known.sel(optimizer="sgd") == 8 and known.sel(optimizer="adam") >= 6
    assert not known.sel(optimizer=["lion", "adam_rotated"]).any()
    # The same function at initialization, whatever the learning rate and the optimizer.
    first = found.initial.isel(optimizer=0, point=int(abs(found.point).argmin("point")))
    expected = first.where(tried).transpose(*found.initial.dims)
    np.testing.assert_allclose(found.initial, expected, rtol=1e-5)
    assert "eff. sharpness" in markdown(shown_of(found))
