"""Configuration of the documentation, built by Sphinx: https://www.sphinx-doc.org."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_extensions")]

import rodflow  # noqa: E402

project = "rodflow"
author = "the authors of rodflow"
copyright = f"2026, {author}"
version = release = rodflow.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
    "sphinx_design",
    "results",
]
exclude_patterns = ["_build"]
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_timeout = 240
nb_execution_raise_on_error = True

html_theme = "sphinx_book_theme"
html_title = "rodflow"
html_static_path = ["_static"]
