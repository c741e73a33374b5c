"""Schemas of what a configuration builds, derived from the builder itself.

A builder is a function, whose keyword-only parameters are the keys of its configuration, or a
dataclass, whose fields are. Annotations give the types and, as `Annotated[int, at_least(1)]`, the
ranges; defaults stand there and nowhere else. The source is parsed, not imported: neither a
mistake nor `--help` should have to wait for JAX.
"""

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import make_dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from omegaconf import MISSING

# Annotations may use what these modules define, and abstract types for which OmegaConf has one.
MODULES = ("typing", "dataclasses", "experiments.configuration.")
KNOWN = {"Sequence": list, "Mapping": dict}


def __getattr__(name: str) -> type:
    """Return the schema of a name that `schema` gave it: so it is unpickled in another process."""
    if ":" not in name:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return schema(name.replace(":", "."))


@functools.cache
def schema(target: str) -> type:
    """Return the dataclass that holds the configuration of a builder.

    Args:
        target: its module and name, as in `experiments.problems.models.mlp.mlp`.

    Raises:
        ValueError: there is no such builder, or an annotation of it cannot be understood.
    """
    module, _, name = target.rpartition(".")
    tree = ast.parse(_source(module))
    nodes: list[Any] = [node for node in tree.body if getattr(node, "name", None) == name]
    if not nodes:
        raise ValueError(f"_target_={target}: there is no {name} in {module}")
    known: dict[str, Any] = dict(KNOWN)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(MODULES):
            exec(compile(ast.Module([node], []), module, "exec"), known)

    def evaluated(node: ast.expr) -> Any:
        try:
            return eval(compile(ast.Expression(node), module, "eval"), known)
        except NameError as error:
            text = f"_target_={target}: {ast.unparse(node)} uses {error.name}, which is not known"
            raise ValueError(text) from None

    entries: list[tuple[str, Any, Any]] = [("_target_", str, target)]
    for key, annotation, default in _declared(nodes[0]):
        value = MISSING if default is None else evaluated(default)
        entries.append((key, evaluated(annotation), value))
    made = make_dataclass(name, entries, namespace={"__doc__": ast.get_docstring(nodes[0])})
    made.__module__, made.__qualname__ = __name__, target.replace(".", ":")
    return made


def _declared(node: Any) -> Iterator[tuple[str, ast.expr, ast.expr | None]]:
    """Yield the name, the annotation and the default of each key."""
    if isinstance(node, ast.FunctionDef):
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            yield argument.arg, argument.annotation or ast.Name("Any", ast.Load()), default
    elif isinstance(node, ast.ClassDef):
        for entry in node.body:
            if not isinstance(entry, ast.AnnAssign) or not isinstance(entry.target, ast.Name):
                continue
            if not ast.unparse(entry.annotation).startswith("ClassVar"):
                yield entry.target.id, entry.annotation, entry.value


def _source(module: str) -> str:
    """Return the source of a module; packages above it are found, but not imported."""
    spec, path = None, None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, path)
        path = spec.submodule_search_locations if spec else []
    if spec is None or not spec.origin:
        raise ValueError(f"_target_: there is no module {module}")
    return Path(spec.origin).read_text()


def descriptions(documentation: str | None) -> dict[str, str]:
    """Return what the section Args or Attributes of a docstring says of each name."""
    section = re.split(r"^(?:Args|Attributes):\n", documentation or "", flags=re.MULTILINE)[-1]
    section = re.split(r"^\S", section, flags=re.MULTILINE)[0]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
