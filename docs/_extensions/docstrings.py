"""Docstrings as pages of the reference: types as they are written in the source, and links.

Docstrings give no types, because the annotations do. Here each argument, attribute and result gets
its annotation as it stands in the source, such as `Float[Array, " k"]`; evaluated, it would be
the name of a private module of JAX. What has no section for arguments or results gets their types
in its signature.

A path such as docs/theory/rod.md becomes a link to that page. A name in backticks becomes a link
if it is one of rodflow's and stands as code otherwise; one that begins with `rodflow.` and that the
reference lacks is an error.
"""

import ast
import importlib
import inspect
import re
import textwrap

from sphinx.util.nodes import make_refnode

PACKAGES = ("", ".maps", ".flows", ".solvers", ".tracking", ".curvature", ".transforms", ".term")
CLASSES = {
    name
    for package in PACKAGES
    for name, value in vars(importlib.import_module(f"rodflow{package}")).items()
    if inspect.isclass(value) and value.__module__.startswith("rodflow.")
}
PAGE = re.compile(r"\bdocs/(\S+)\.md\b")
SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Examples|References):")
NAME = re.compile(r"[A-Za-z_][\w.]*")


def annotations(obj):
    """Return the annotations of arguments and fields by name; `return` is that of the result."""
    found = {}
    for part in reversed(inspect.getmro(obj)) if inspect.isclass(obj) else [obj]:
        try:
            source = textwrap.dedent(inspect.getsource(inspect.unwrap(part)))
            (node,) = ast.parse(source).body
        except (OSError, TypeError, SyntaxError, ValueError):
            continue  # a builtin, or a part of an expression
        for name, annotation in annotated(node):
            if annotation is not None:
                found[name] = " ".join(ast.get_source_segment(source, annotation).split())
    return found


def annotated(node):
    """Yield names and annotations of the arguments of a function, or the fields of a class."""
    if isinstance(node, ast.FunctionDef):
        yield "return", node.returns
        yield from ((x.arg, x.annotation) for x in ast.walk(node.args) if isinstance(x, ast.arg))
    elif isinstance(node, ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.AnnAssign):
                yield ast.unparse(child.target), child.annotation
            elif isinstance(child, ast.FunctionDef) and child.name == "__init__":
                yield from annotated(child)


def markup(annotation):
    """Return an annotation as code, in which the classes of rodflow are links."""
    pieces, end = [], 0
    for found in NAME.finditer(annotation):
        if found[0].removeprefix("rodflow.") in CLASSES:
            pieces += [literal(annotation[end : found.start()]), f":py:class:`{found[0]}`"]
            end = found.end()
    return r"\ ".join(filter(None, [*pieces, literal(annotation[end:])]))


def literal(text):
    """Return text as code in reStructuredText, where it may not begin or end with a space."""
    return f"``{text.strip()}``" if text.strip() else ""


def add_types(app, what, name, obj, options, lines):
    """Write the types of arguments and results into their sections, and links to pages."""
    del app, what, name, options
    types, section, indent = annotations(obj), "", None
    for number, line in enumerate(lines):
        line = lines[number] = PAGE.sub(r":doc:`/\1`", line)
        if found := SECTION.fullmatch(line):
            section, indent = found[1], None
            continue
        here = len(line) - len(line.lstrip())
        first, indent = indent is None, here if indent is None else indent
        if section == "Args" and here == indent:
            item, colon, text = line.strip().partition(": ")
            if colon and item in types:
                lines[number] = f"{' ' * here}{item} ({markup(types[item])}): {text}"
        elif section == "Returns" and first and "return" in types:
            lines[number] = f"{' ' * here}{markup(types['return'])}: {line.strip()}"


def add_types_of_attributes(app, what, name, obj, options, lines):
    """Write the types of attributes into the directives that Napoleon made of their section."""
    del app, what, name, options
    types = annotations(obj)
    for number, line in reversed(list(enumerate(lines))):
        attribute = line.removeprefix(".. attribute:: ")
        if attribute != line and attribute in types:
            lines.insert(number + 1, f"   :type: {types[attribute]}")


def sign(app, what, name, obj, options, signature, result):
    """Return the signature, with the types that no section of the docstring tells."""
    del app, name, options, result
    if signature is None:
        return None
    types, text = annotations(obj), inspect.getdoc(obj) or ""
    told = "Args:" in text or "Attributes:" in text
    parameters = []
    for parameter in inspect.signature(obj).parameters.values():
        if what == "method" and parameter.name in ("self", "cls"):
            continue
        known = None if told else types.get(parameter.name)
        kind = parameter.empty if known is None else Written(known)
        default = parameter.default
        if inspect.isclass(default) and default is not parameter.empty:
            default = Written(default.__name__)
        parameters.append(parameter.replace(annotation=kind, default=default))
    shown = str(inspect.Signature(parameters))
    return shown, None if "Returns:" in text or what == "class" else types.get("return")


class Written(str):
    """Text that stands for a value in a signature as it is, without quotes."""

    __repr__ = str.__str__


def skip_field(app, what, name, obj, skip, options):
    """Skip the fields of a NamedTuple, which are described in its docstring."""
    del app, what, name, options
    return skip or type(obj).__name__ == "_tuplegetter"


def resolve(app, env, node, content):
    """Find a class or function of rodflow by its last name, whichever package exports it."""
    if node["refdomain"] != "py":
        return None
    target = node["reftarget"]
    last = target.rpartition(".")[2]
    for name, entry in env.domains["py"].objects.items():
        if entry.objtype in ("class", "function", "data") and name.rpartition(".")[2] == last:
            return make_refnode(
                app.builder, node["refdoc"], entry.docname, entry.node_id, content, name
            )
    # Names of other projects stand as they are.
    return None if target.startswith("rodflow.") else content


def setup(app):
    """Connect to Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    # Before Napoleon, which converts the sections.
    app.connect("autodoc-process-docstring", add_types, priority=400)
    app.connect("autodoc-process-docstring", add_types_of_attributes, priority=600)
    app.connect("autodoc-process-signature", sign)
    app.connect("autodoc-skip-member", skip_field)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
