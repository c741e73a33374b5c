"""Docstrings as pages: a line such as "Theory: docs/theory/rod.md" becomes a link to that page."""

import re

PAGE = re.compile(r"\bdocs/(\S+)\.md\b")


def link_pages(app, what, name, obj, options, lines):
    """Replace paths of pages of the documentation by links to them."""
    del app, what, name, obj, options
    lines[:] = [PAGE.sub(r":doc:`/\1`", line) for line in lines]


def setup(app):
    """Connect to autodoc."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", link_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
