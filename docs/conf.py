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
    "docstrings",
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
templates_path = ["_templates"]
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "unsrt"
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
smartquotes_action = "D"  # dashes, no curly quotes

# Types come from the source, see _extensions/docstrings.py.
default_role = "py:obj"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# Notebooks run at build, once for each change of their code; a cell that fails fails the build.
nb_execution_mode = "cache"
nb_execution_timeout = 240
nb_execution_raise_on_error = True
# Widgets would load programs from a network.
nb_ipywidgets_js = {}

html_theme = "sphinx_book_theme"
html_title = "rodflow"
html_static_path = ["_static"]
html_css_files = ["rodflow.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_theme_options = {
    "logo": {
        "image_light": "_static/logo-light.svg",
        "image_dark": "_static/logo-dark.svg",
        "alt_text": "rodflow, to the start page",
    },
    "navbar_persistent": [],  # the sidebar has the search
    "show_toc_level": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "footer_content_items": ["copyright"],
}
