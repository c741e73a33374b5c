import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from experiments.commands import search
from experiments.commands.search import Ladder, choose

NAN = np.nan


def ladder(early, late):
    return Ladder(2.0 ** np.arange(len(early)), np.array(early), np.array(late))


@pytest.mark.parametrize(
    ("early", "late", "expected"),
    [
        ([0.2, 1.1, 1.2], [0.5, 1.1, 1.2], (1, True)),  # the smallest that is there early
        ([0.2, 0.5, 1.2], [0.5, 1.1, 1.2], (2, True)),  # late is not early
        ([0.2, 0.9, 1.2], [0.5, 0.9, NAN], (1, False)),  # one that diverges does not count
        ([0.2, 1.3, 0.1], [NAN, NAN, NAN], (0, False)),
    ],
)
def test_the_rule(early, late, expected):
    assert choose(ladder(early, late)) == expected


def test_early_is_the_first_half_of_a_run_and_late_all_of_it():
    sharpness = np.array([[0.5, 0.9, 1.2, 1.1], [0.8, 1.3, NAN, NAN], [NAN, 0.7, np.inf, 0.1]])
    found = search.outcome(np.array([1.0, 2.0, 4.0]), sharpness, np.array([-1, 30, -1]))
    np.testing.assert_array_equal(found.early, [0.9, 1.3, 0.7])
    np.testing.assert_array_equal(found.late, [1.2, NAN, 0.7])


@pytest.mark.parametrize("edge", [1e-12, 0.03, 1.0, 40.0, 1e9])
def test_the_ladder_moves_to_where_the_edge_is(edge):
    """An optimizer that reaches the edge from a learning rate on, and diverges far beyond it."""

    def climb(rates):
        sharpness = np.minimum(rates / edge, 1.05)
        return Ladder(rates, sharpness, np.where(rates > 30 * edge, NAN, sharpness))

    answer = search.search(climb, around=1.0)
    assert answer.obeys == (1e-12 < edge < 1e9)
    if answer.obeys:
        assert edge <= answer.rate < 2 * edge
        np.testing.assert_equal(np.log2(answer.rate) % 1, 0)


def test_the_table_is_written_once_and_continued(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(search, "table_of", lambda study: tmp_path / f"{study}.yaml")
    answer = search.Answer(0.25, 1.02, True)
    here = SimpleNamespace(map=lambda function, cells: [answer for _ in cells])
    monkeypatch.setattr("experiments.runs.workers.pool", lambda count: contextlib.nullcontext(here))
    search.main(["tiny", "grid.problems=[narrow]"])
    assert "narrow/gd: 0.25, effective sharpness up to 1.02\n" in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / "tiny.yaml").read_text()) == {
        "narrow": {"gd": 0.25, "rmsprop": 0.25}
    }
    answer = search.Answer(0.5, 0.9, False)
    search.main(["tiny"])
    assert "narrow" not in (out := capsys.readouterr().out)
    assert "linear/gd: 0.5, effective sharpness up to 0.9, not the rule" in out
    table = yaml.safe_load((tmp_path / "tiny.yaml").read_text())
    assert table["narrow"]["gd"] == 0.25 and table["linear"]["gd"] == 0.5


def test_the_seed_is_one_that_no_grid_uses():
    for path in (search.configuration.CONFIGS / "study").glob("*.yaml"):
        config = search.configuration.load_study([f"study={path.stem}"])
        if isinstance(config, search.GridStudyConfig):
            assert search.SEED not in config.grid.seeds


@pytest.mark.parametrize("study", ["papers", "papers_small"])
def test_the_table_is_the_one_that_the_study_reads(study):
    assert search.table_of(study) == search.configuration.CONFIGS / "learning_rates" / "papers.yaml"


def test_a_question_has_no_learning_rates_to_search():
    with pytest.raises(SystemExit, match="study=warmup has no grid to search learning rates for"):
        search.main(["warmup"])


def test_a_study_without_a_table_is_told_apart():
    with pytest.raises(ValueError, match="study=tiny takes no file of configs/learning_rates"):
        search.table_of("tiny")


def test_remarks_at_the_beginning_of_a_table_stay(tmp_path):
    path = tmp_path / "mine.yaml"
    assert search.remarks(path).startswith("# Found by `python -m experiments search mine`")
    path.write_text("# by hand\n# all of it\nmlp: {gd: 1} # so\n# end\n")
    assert search.remarks(path) == "# by hand\n# all of it\n"


@pytest.mark.slow
def test_a_climb_finds_the_edge_of_a_linear_network():
    config = search.configuration.load(
        ["optimizer=gd", "model.depth=0", "data.size=20", "every=2", "num_steps=24", "warmup=2"]
    )
    seen = search.climber(config)(np.array([1e-3, 2e-3, 1e3]))
    # The Hessian of a linear network with squared error does not change along the run.
    np.testing.assert_allclose(seen.early[1] / seen.early[0], 2, rtol=1e-3)
    np.testing.assert_allclose(seen.early[:2], seen.late[:2], rtol=1e-3)
    assert np.isnan(seen.late[2])
