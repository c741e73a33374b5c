"""The report as its reader meets it: from the command line, and in a browser."""

import gzip
import json
import re
import shutil
import subprocess
from base64 import b64decode
from datetime import datetime
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from experiments.commands.report import main
from experiments.report import cells, output, page
from experiments.report.series import rounded, series
from experiments.storage import files, results
from experiments.studies import running as parts
from experiments.studies.rectification.study import Rectification
from experiments.studies.study import shown_of

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

# What a reader does with the mouse; then the page is asked what became of it.
READER = """
addEventListener("load", async () => {
  await READY;
  const noted = document.body.dataset;
  const first = document.querySelector("section[id]"), plot = first.querySelector(".plot");
  const top = () => plot.data.find((t) => t.name === "rod flow" && t.yaxis === "y3").y[0];
  await draw(first);
  noted.before = top();
  first.querySelector('.seeds input[value="2"]').click();
  await draw(first);
  noted.after = top();
  URL.createObjectURL = (blob) => { noted.bytes = blob.size; return "#"; };
  first.querySelector(".data-of-panels").click();
  noted.csv = panelsAsCsv(DATA.cells[first.id], 2);
  noted.panels = plot.querySelectorAll(".subplot").length;
  noted.axes = Object.keys(plot._fullLayout).filter((key) => /^xaxis/.test(key)).length;
  document.querySelector('#switch input[value="covariance_4"]').click();
  dispatchEvent(new Event("beforeprint"));
  await Promise.all(sections.map(draw));
  noted.drawn = document.querySelectorAll(".plot .main-svg:first-child").length;
});
"""


class Page(HTMLParser):
    """Texts of elements by tag, and everything that names something outside of the page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.outside, self.attributes = [], {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.attributes.append((tag, dict(attrs)))
        outside = ("src", "href", "srcset", "action", "data", "poster")
        self.outside += [v for k, v in attrs if k in outside and not v.startswith("#")]

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in self.open:
            self.texts.setdefault(tag, []).append(data)

    def text(self, tag):
        return " ".join(self.texts.get(tag, []))


@pytest.fixture
def study(cell):
    """A cell at the edge, one short of it, one that diverged, and one with a name that is HTML."""
    away, lost, odd = (cell.copy(deep=True) for _ in range(3))
    away["effective_sharpness"] *= 0.5
    for name in ("loss", "mean_loss", "distance", "floor"):
        lost[name] = lost[name].where(lost.step < 40)
    lost["diverged_at"] = lost.diverged_at.where(lost.step < 40, 34)
    lost["improvement"] *= np.nan
    return [
        cell,
        away.assign_attrs(optimizer="gd"),
        lost.assign_attrs(problem="mlp").drop_vars("gradient_norm"),
        odd.assign_attrs(problem="<b>&</script>", configuration="</pre><script>alert(1)</script>"),
    ]


@pytest.fixture
def another_study(tmp_path):
    """Results of a study that is no grid of tracked runs, of seconds."""
    study = Rectification(
        [0.99], steps=10, b2=0.999, means=[0.0], trajectories=10, simulated_steps=20, seed=0
    )
    return parts.run(study, tmp_path, "name: rectification", lambda *_: None)


def drawn(results):
    """The study with its figures, as a page has it."""
    shown = shown_of(results)
    return shown, shown.figures()


@pytest.fixture
def run(study, tmp_path):
    """The folder of a study."""
    for i, each in enumerate(study):
        folder = tmp_path / "run" / str(i)
        folder.mkdir(parents=True)
        results.save(each, folder / "results.nc")
    return tmp_path / "run"


def test_page_has_the_numbers(study):
    text = page.render(study)
    shown = Page(text)
    for part in (
        "25.0",
        "4.0 times floor",
        "not at the edge",
        "diverged at step 34, 34, 34",
        "n/a",
    ):
        assert part in shown.text("td"), part
    assert "4 cells, 12 runs" in shown.text("header")
    assert str(datetime.now().year) in shown.text("header")
    assert "3 of 4 cells reached" in shown.text("p")
    assert "learning rate 0.001 · data digits · time 12.5 s · device cpu" in shown.text("section")
    assert "name: adam" in shown.text("pre")


def test_page_escapes_every_text_and_names_nothing_outside_of_itself(study):
    shown = Page(page.render(study))
    assert shown.outside == []
    assert "<b>&</script>" in shown.text("h2") and "<script>alert(1)" in shown.text("pre")
    assert [tag for tag, _ in shown.attributes].count("script") == 5
    (policy,) = [a["content"] for _, a in shown.attributes if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'") and "http" not in policy
    targets = {a["id"] for _, a in shown.attributes if "id" in a}
    links = {a["href"].removeprefix("#") for _, a in shown.attributes if "href" in a}
    assert len(links) == 5 and links <= targets


def test_only_the_first_flow_is_shown_at_first(study):
    parts = [a for _, a in Page(page.render(study)).attributes if "data-flow" in a]
    assert [a["data-flow"] for a in parts] == ["rod", "covariance_4"]
    assert ["hidden" in a for a in parts] == [False, True]


def test_curves_are_compact_json_with_null_for_nan(study):
    text = series(study)
    content = json.loads(text)
    assert "<" not in text and "NaN" not in text and ": " not in text.replace("covariance", "")
    curves = content["cells"]["mlp-adam"]
    assert curves["loss"][0][2:4] == [0.03333, None]
    assert "gradient" not in curves and "floor" in curves
    assert curves["extent"][0][0] == [None] * 6
    assert np.shape(curves["sharpness"]) == (3, 2, 6)
    assert rounded(np.array([1.23456e-9, np.inf])) == [1.235e-9, None]


def test_every_cell_has_a_name_of_its_own(cell):
    names = cells.slugs([cell, cell, cell.assign_attrs(problem="ViT"), cell])
    assert names == ["vit-adam", "vit-2-adam", "ViT-adam-2", "vit-3-adam"]
    assert cells.slugs([cell.assign_attrs(problem="../..", optimizer="/")]) == ["-2"]


def test_figures_of_two_runs_of_one_study_are_both_kept(tmp_path):
    files = output.draw([], [{"one": Figure()}, {"one": Figure()}], tmp_path)
    assert [file.name for file in files] == ["one.png", "one.pdf", "one-2.png", "one-2.pdf"]
    assert all(file.exists() for file in files)


def test_two_runs_of_one_study_are_told_apart_by_their_folders(another_study, tmp_path):
    runs = tmp_path / "runs"
    for name in ("first", "second"):
        (runs / name).mkdir(parents=True)
        results.save(another_study, runs / name / "results.nc")
    studies = cells.load_all([runs]).studies
    texts = [page.study_section(each, {}).findtext("p") or "" for each in studies]
    assert [text.partition(" · ")[0] for text in texts] == ["folder first", "folder second"]
    assert f"**{Rectification.title}** (second)" in output.markdown([runs])


def test_the_data_of_the_figures_of_a_study_can_be_kept(another_study):
    shown = Page(page.render([], [drawn(another_study)]))
    (link,) = (a for _, a in shown.attributes if a.get("download") == "study.json.gz")
    content = link["href"].removeprefix("data:application/gzip;base64,")
    kept = xr.Dataset.from_dict(json.loads(gzip.decompress(b64decode(content))))
    assert set(kept.data_vars) == set(another_study.data_vars)
    for name, values in another_study.data_vars.items():
        np.testing.assert_allclose(kept[name].astype(float), values, rtol=1e-3)


@pytest.mark.parametrize("shown", [["--markdown"], ["--no-figures"]])
def test_results_of_another_version_of_a_study_are_one_line(another_study, tmp_path, shown):
    (tmp_path / "old").mkdir()
    lacking = another_study.drop_vars(list(another_study.data_vars))
    results.save(lacking, tmp_path / "old" / "results.nc")
    with pytest.raises(
        SystemExit, match=r"^error: cannot show the results in old: they are of anot"
    ):
        main([str(tmp_path / "old"), *shown])


def test_a_sweep_stands_beside_the_cells(swept, cell, tmp_path, capsys):
    (tmp_path / "ladder").mkdir()
    results.save(swept, tmp_path / "ladder" / "results.nc")
    results.save(cell, tmp_path / "results.nc")
    main([str(tmp_path), "--markdown"])
    assert "**ladder.** 8 lanes (learning_rate 4, seed 2), 2 diverged" in capsys.readouterr().out
    main([str(tmp_path)])
    assert (tmp_path / "figures" / "ladder.png").read_bytes().startswith(b"\x89PNG")
    shown = Page((tmp_path / "report.html").read_text())
    assert "1 cell, 3 runs, 1 sweep" in shown.text("header")
    assert "Sweep: Rod flow against" in shown.text("h2")
    links = [a["href"] for _, a in shown.attributes if a.get("download") == "ladder.csv"]
    assert links[0].startswith("data:text/csv;base64,")


def test_a_sweep_of_another_version_is_one_line(swept, tmp_path):
    results.save(swept.drop_vars("diverged_at"), tmp_path / "results.nc")
    with pytest.raises(ValueError, match=r"results.nc: it lacks the variable diverged_at"):
        cells.load_all([tmp_path])


def test_a_page_counts_and_names_all_seeds(cell):
    one = cell.isel(seed=[0]).assign_attrs(configuration="seed: 0\nwarmup: 20\n")
    shown = Page(page.render([one]))
    assert "1 cell, 1 run " in shown.text("header") and "seed: 0\n" in shown.text("pre")
    several = cell.assign_attrs(configuration="seed: 0\nwarmup: 20\n")
    assert "seed: 0, 1, 7\nwarmup: 20" in Page(page.render([several])).text("pre")


def test_a_page_is_well_below_the_size_of_its_library(study):
    assert len(page.render(study)) < 2_200_000


def test_seconds_of_a_study_stand_beside_its_results(cell, tmp_path):
    del cell.attrs["seconds"]
    cell.attrs |= {"kind": "cell", "identity": '{"run": "1"}'}
    results.save(cell, tmp_path / "results.nc")
    assert "seconds" not in cells.load(tmp_path / "results.nc").attrs
    files.save(tmp_path / "seconds.json", {"kind": "cell", "run": "1", "seconds": 90})
    assert cells.load(tmp_path / "results.nc").attrs["seconds"] == 90.0


def test_command_line_leaves_page_and_figures(cli, cell, tmp_path):
    for name in ("a", "b/c"):
        (tmp_path / name).mkdir(parents=True)
        results.save(cell, tmp_path / name / "results.nc")
    done = cli("a", "b", "a/../a", program=("-m", "experiments", "report"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "report: a/report.html\nfigures: 6 files in a\n"
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        *("results.nc", "report.html", "summary.png", "summary.pdf", "figures")
    }
    names = sorted(path.name for path in (tmp_path / "a" / "figures").iterdir())
    assert names == ["vit-2-adam.pdf", "vit-2-adam.png", "vit-adam.pdf", "vit-adam.png"]
    assert (tmp_path / "a" / "summary.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "a" / "figures" / "vit-adam.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_study_of_another_kind_stands_beside_the_cells(cli, cell, tmp_path):
    tiny = ("trajectories=10", "simulated_steps=20", "steps=10")
    command = ("study=rectification", *(f"study.{key}" for key in tiny))
    done = cli(*command, program=("-m", "experiments", "study"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "not rectified" in done.stdout and "runs/rectification" in done.stdout
    run = tmp_path / "runs"
    names = {path.name for path in (run / "rectification").iterdir()}
    assert names == {"config.yaml", "results.nc", "rectification.png", ".lock"}
    results.save(cell, run / "results.nc")
    main([str(run)])
    text = (run / "report.html").read_text()
    assert "data:image/png;base64," in text
    assert "How large is the variance" in text and "vit" in text
    assert "1 study" in text
    assert (run / "figures" / "rectification.pdf").read_bytes().startswith(b"%PDF")


def test_without_figures_the_page_is_alone(run, tmp_path, capsys):
    main([str(run), "--no-figures", "--output", str(tmp_path / "new" / "page.html")])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]
    assert capsys.readouterr().out == f"report: {tmp_path}/new/page.html\n"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", "{run}: no such file or folder"),
        ("empty", "{run}: there is no results.nc at or below it"),
        ("truncated", "{run}/results.nc is damaged or of another program; delete it to have"),
        ("not netcdf", "{run}/results.nc is damaged or of another program; delete it to have"),
        ("no seed", "cannot use {run}/results.nc: it lacks the dimension seed"),
        ("no attribute", "cannot use {run}/results.nc: it lacks the attribute problem"),
        ("no baseline", "cannot use {run}/results.nc: it has no stable flow, no seed or no step"),
        ("output is a folder", "cannot use {run}/page.html: Is a directory"),
    ],
)
def test_bad_input_is_one_line(cell, tmp_path, capsys, damage, reason):
    run = tmp_path / "run"
    if damage != "missing":
        run.mkdir()
    if damage == "no seed":
        cell = cell.isel(seed=0, drop=True)
    elif damage == "no attribute":
        del cell.attrs["problem"]
    elif damage == "no baseline":
        cell = cell.sel(flow=["rod"])
    elif damage == "output is a folder":
        (run / "page.html").mkdir()
    if damage not in ("missing", "empty"):
        results.save(cell, run / "results.nc")
    if damage == "truncated":
        content = (run / "results.nc").read_bytes()
        (run / "results.nc").write_bytes(content[: len(content) // 10])
    elif damage == "not netcdf":
        (run / "results.nc").write_text("something else")
    with pytest.raises(SystemExit) as caught:
        main([str(run), "--no-figures", "--output", str(run / "page.html")])
    assert str(caught.value).startswith("error: " + reason.format(run=run))
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def opened(text, folder):
    """A page once a browser has run its programs."""
    (folder / "report.html").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={folder}/browser", "--virtual-time-budget=10000", "--dump-dom"),
            f"file://{folder}/report.html",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Page(re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL))


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the report with")
def test_a_browser_draws_the_panels(study, another_study, tmp_path):
    """Of the cells: the section of a study of another kind comes before theirs."""
    text = page.render(study, [drawn(another_study)])
    shown = opened(text.replace("</body>", f"<script>{READER}</script></body>"), tmp_path)
    tags = {tag: attributes for tag, attributes in shown.attributes if tag in ("html", "body")}
    assert "data-errors" not in tags["html"], tags["html"]
    noted = {key.removeprefix("data-"): value for key, value in tags["body"].items()}
    assert noted["panels"] == "5" and noted["axes"] == "1"
    assert [float(noted[when]) for when in ("before", "after")] == [4e-6, 8e-6]
    assert noted["drawn"] == "4"
    lines = noted["csv"].splitlines()
    assert lines[0] == "panel,curve,step,value" and int(noted["bytes"]) == len(noted["csv"])
    assert "Distance to the iterates,rod flow,10,0.000008" in lines
    assert "Distance to the iterates" in shown.text("text") and "rod flow" in shown.text("text")
    hidden = [(a["data-flow"], "hidden" in a) for _, a in shown.attributes if "data-flow" in a]
    assert hidden == [("rod", True), ("covariance_4", False)]
    assert "25.0" in shown.text("td")


# What a reader does with the plane of a run.
PLANE_READER = """
addEventListener("load", async () => {
  await READY;
  const noted = document.body.dataset, first = document.querySelector("section[id]");
  const cell = DATA.cells[first.id], slider = first.querySelector("input[type=range]");
  await draw(first);
  noted.begin = slider.value;
  noted.last = slider.max;
  slider.value = 50;
  slider.dispatchEvent(new Event("input"));
  await drawPlane(first, cell, 0);
  noted.step = first.querySelector("output").textContent;
  const rod = first.querySelector(".stage").data.find((trace) => trace.name === "rod");
  noted.rod = JSON.stringify([rod.x, rod.y]);
  noted.csv = planeAsCsv(cell, 0);
  noted.panels = first.querySelectorAll(".plot .subplot").length;
  first.querySelector("button.play").click();
  noted.play = first.querySelector("button.play").textContent;
  first.querySelector("button.play").click();
});
"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the report with")
def test_a_browser_moves_the_rod_on_its_plane(run_with_paths, tmp_path):
    run = run_with_paths.assign_attrs(optimizer="adam", problem="mlp", plane="some plane")
    text = page.render([run])
    shown = opened(text.replace("</body>", f"<script>{PLANE_READER}</script></body>"), tmp_path)
    tags = {tag: attributes for tag, attributes in shown.attributes if tag in ("html", "body")}
    assert "data-errors" not in tags["html"], tags["html"]
    noted = {key.removeprefix("data-"): value for key, value in tags["body"].items()}
    assert noted["last"] == "59" and noted["step"] == "step 51" and noted["panels"] == "6"
    assert json.loads(noted["rod"]) == [[0.1, -0.1], [0.051, 0.051]]
    lines = noted["csv"].splitlines()
    assert lines[0].startswith("step,iterates 1,iterates 2,stable centre 1")
    assert len(lines) == 61 and lines[51].startswith("51,-0.1,0.051,0,0.051,0,0,0,0.051,0.1,0")
    assert noted["play"] == "pause"
    assert "Axes: some plane." in shown.text("p")


def test_a_long_path_is_thinned_to_steps_that_still_alternate(run_with_paths):
    steps = np.arange(1, 5001)
    long = run_with_paths.drop_dims("time").assign_coords(time=steps)
    for name in ("path", "flow_path", "rod_path"):
        first = run_with_paths[name].isel(time=0, drop=True)
        signs = xr.DataArray((-1.0) ** steps, dims="time")
        long[name] = first.broadcast_like(signs) * signs
    found = json.loads(series([long.assign_attrs(optimizer="adam", problem="mlp")]))
    (cell,) = found["cells"].values()
    assert len(cell["time"]) <= 2001 and len(cell["variance"][0][0]) == len(cell["time"])
    first = np.array(cell["path"][0][0])
    assert (first[1:] * first[:-1] < 0).all()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the report with")
def test_a_browser_opens_a_page_of_studies_alone(another_study, tmp_path):
    shown = opened(page.render([], [drawn(another_study)]), tmp_path)
    (root,) = [attributes for tag, attributes in shown.attributes if tag == "html"]
    assert "data-errors" not in root and "How large is the variance" in shown.text("h2")


def test_the_tables_of_a_readme_are_printed(cell, tmp_path, capsys):
    results.save(cell, tmp_path / "results.nc")
    main([str(tmp_path), "--markdown"])
    out = capsys.readouterr().out
    assert "| --- |" in out and "cells reached the edge" in out
    assert [path.name for path in tmp_path.iterdir()] == ["results.nc"]
