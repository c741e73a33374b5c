"""The built documentation as its reader meets it: every page opened in a browser, by one visit.

The pages are served by a local server that adds a program to each. It notes errors of programs,
messages on the console, files that do not load and formulas that were not set, and forbids requests
to other hosts. When a page is done it reports to the server, and goes on to the next page.
"""

import json
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PAGES = sorted(
    str(path.relative_to(SITE)) for path in SITE.rglob("*.html") if "_static" not in path.parts
)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
ALLOWED = "'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
LONGEST = 300  # seconds for all pages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open pages with"),
    pytest.mark.skipif(not PAGES, reason="the documentation is not built; `make docs` does it"),
]

VISITOR = """
<script>(() => {
  const seen = [];
  const note = (kind, text) => seen.push(kind + ": " + text);
  addEventListener("error", (event) =>
    note("error", event.message || event.target.src || event.target.href), true);
  addEventListener("unhandledrejection", (event) => note("rejection", event.reason));
  addEventListener("securitypolicyviolation", (event) => note("outside", event.blockedURI));
  for (const kind of ["error", "warn"]) {
    const say = console[kind];
    console[kind] = (...words) => { note("console", words.join(" ")); say(...words); };
  }
  addEventListener("load", async () => {
    if (window.MathJax?.startup) await MathJax.startup.promise;
    await document.fonts.ready;
    await new Promise((done) => setTimeout(done, 50));
    const count = (selector) => document.querySelectorAll(selector).length;
    const report = {
      seen, formulas: count(".math"), set: count(".math mjx-container"),
      wrong: count("mjx-merror, [data-mjx-error]"), text: document.body.innerText.length,
    };
    const next = await fetch("/-/report" + location.pathname, {
      method: "POST", body: JSON.stringify(report)});
    const page = await next.text();
    if (page) location.href = page;
  });
})()</script>
"""


class Server(SimpleHTTPRequestHandler):
    """The site, and the reports of its pages."""

    def __init__(self, *args, reports, missing, done):
        self.reports, self.missing, self.done = reports, missing, done
        super().__init__(*args, directory=str(SITE))

    def do_GET(self):
        path = SITE / self.path.lstrip("/").partition("?")[0]
        if path.suffix != ".html" or not path.is_file():
            return super().do_GET()
        self.answer(path.read_text(encoding="utf-8").replace("<head>", f"<head>{VISITOR}", 1))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.reports[self.path.removeprefix("/-/report/")] = json.loads(body)
        left = [page for page in PAGES if page not in self.reports]
        self.answer(f"/{left[0]}" if left else "")
        if not left:
            self.done.set()

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", f"default-src {ALLOWED}")
        self.end_headers()
        self.wfile.write(text.encode())

    def send_error(self, code, message=None, explain=None):
        self.missing.append(self.path)
        super().send_error(code, message, explain)

    def log_message(self, format, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def visit(tmp_path_factory):
    """Reports of all pages by name, and the paths that the site lacks."""
    reports, missing, done = {}, [], threading.Event()
    handler = partial(Server, reports=reports, missing=missing, done=done)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [
                *(str(CHROMIUM), *OPTIONS, "--remote-debugging-port=0", "--window-size=1400,1000"),
                f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
                f"http://127.0.0.1:{server.server_port}/{PAGES[0]}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            done.wait(LONGEST)
        finally:
            browser.terminate()
            browser.wait(30)
            server.shutdown()
    return reports, missing


def test_every_page_opens(visit):
    reports, _ = visit
    assert sorted(reports) == PAGES
    assert [page for page, report in reports.items() if report["text"] < 100] == []


def test_no_page_has_an_error_or_asks_for_another_host(visit):
    reports, missing = visit
    assert {page: report["seen"] for page, report in reports.items() if report["seen"]} == {}
    assert [path for path in missing if path != "/favicon.ico"] == []


def test_formulas_are_set(visit):
    reports, _ = visit
    formulas = {page: report["formulas"] for page, report in reports.items()}
    assert sum(formulas.values()) > 0
    assert {page: report["set"] for page, report in reports.items()} == formulas
    assert [page for page, report in reports.items() if report["wrong"]] == []


def test_formulas_are_set_in_a_page_that_is_a_file(visit, tmp_path):
    """Without a server, as `make docs` says to open it."""
    reports, _ = visit
    page = max(PAGES, key=lambda page: reports[page]["formulas"])
    shown = subprocess.run(
        [
            *(str(CHROMIUM), *OPTIONS, f"--user-data-dir={tmp_path}"),
            *("--virtual-time-budget=20000", "--dump-dom", f"file://{SITE / page}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert shown.stdout.count("<mjx-container") == reports[page]["formulas"]
