"""The rules of the house: layers, public names, immutability, docstrings and sizes.

They are read from the source alone. Each test names all that breaks its rule.
"""

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("rodflow", "experiments")
    for path in sorted((ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}

# Layers, lowest first. A module belongs to the longest of these names that begins its own. The
# modules of a layer may import those of lower layers; of its own, those of its own package.
LIBRARY = (
    ("rodflow._checks",),
    ("rodflow.linalg",),
    ("rodflow.maps",),
    ("rodflow.curvature",),
    ("rodflow.term", "rodflow.solvers", "rodflow.transforms"),
    ("rodflow.flows",),
    ("rodflow.tracking", "rodflow.sweep"),
    ("rodflow",),
)
APPLICATION = (
    ("rodflow",),
    ("experiments.storage", "experiments.configuration", "experiments.analysis"),
    ("experiments.problems",),
    ("experiments.setup",),
    ("experiments.runs",),
    ("experiments.studies", "experiments.benchmarks", "experiments.report"),
    ("experiments.commands",),
    ("experiments",),
)
# Narrower than their layers: the only modules of rodflow that these may import besides their own.
NARROW = {
    "rodflow._checks": (),
    "rodflow.linalg": ("rodflow._checks",),
    # A warmup freezes first moments, which the parity of a transformation's state tells; a monitor
    # measures how far the map of a chain is from the edge.
    "rodflow.transforms": (
        "rodflow._checks",
        "rodflow.linalg",
        "rodflow.maps",
        "rodflow.curvature",
    ),
    "rodflow.term": ("rodflow._checks", "rodflow.linalg"),
    "rodflow.solvers": ("rodflow._checks", "rodflow.linalg", "rodflow.term"),
    "rodflow.sweep": ("rodflow._checks", "rodflow.linalg"),
}
# Where layers are side by side: who may import whom.
BESIDE = {
    ("rodflow.solvers", "rodflow.term"),
    ("experiments.report", "experiments.studies"),  # a study says how it is shown
    ("experiments.studies", "experiments.benchmarks"),  # the roofline bounds what lanes can gain
}


def imported(name: str) -> Iterator[str]:
    """Yield the modules of this repository that a module imports, inside functions too."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in MODULES or node.module in MODULES:
                    yield whole if whole in MODULES else str(node.module)


IMPORTS = {name: set(imported(name)) - {name} for name in MODULES}


def none_of(offenders: Iterable[str]) -> None:
    """Fail with the name of every offender, one a line."""
    found = sorted(offenders)
    assert not found, "\n  ".join(["", *found])


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def place(name: str, layers: tuple[tuple[str, ...], ...]) -> tuple[int, str]:
    """Find the number and the name of the layer that a module belongs to."""
    found = [
        (len(package), number, package)
        for number, layer in enumerate(layers)
        for package in layer
        if within(name, package)
    ]
    _, number, package = max(found)
    return number, package


def cycles(graph: dict[str, set[str]]) -> list[str]:
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return [" <- ".join(error.args[1])]
    return []


def upward(root: str, layers: tuple[tuple[str, ...], ...]) -> list[str]:
    """List the imports, by modules of a root, that do not point to a lower layer."""
    offenders = []
    for name in filter(lambda name: within(name, root), MODULES):
        at, own = place(name, layers)
        for other in IMPORTS[name]:
            where, package = place(other, layers)
            if package != own and where >= at and (own, package) not in BESIDE:
                offenders.append(f"{name} ({own}) imports {other} ({package})")
    return sorted(offenders)


def test_no_module_imports_itself_in_a_circle():
    none_of(cycles(IMPORTS))


@pytest.mark.parametrize("root", ["rodflow", "experiments"])
def test_no_package_imports_itself_in_a_circle(root):
    """Packages at the top of a root: A imports B and B imports A, by whatever modules."""

    def top(name: str) -> str:
        return ".".join(name.split(".")[:2])

    inside = [name for name in MODULES if name.startswith(f"{root}.")]
    graph = {top(name): set() for name in inside}
    for name in inside:
        graph[top(name)] |= {top(x) for x in IMPORTS[name] if x.startswith(f"{root}.")} - {
            top(name)
        }
    none_of(cycles(graph))


def test_the_library_imports_nothing_of_the_application():
    offenders = {
        f"{name}: {other}"
        for name in MODULES
        for other in IMPORTS[name]
        if within(name, "rodflow") and within(other, "experiments")
    }
    none_of(offenders)


def test_layers_of_the_library_import_lower_ones_only():
    none_of(upward("rodflow", LIBRARY))


def test_layers_of_the_application_import_lower_ones_only():
    none_of(upward("experiments", APPLICATION))


@pytest.mark.parametrize("package", NARROW)
def test_an_independent_package_imports_what_it_is_allowed_to(package):
    allowed = (package, *NARROW[package])
    offenders = {
        f"{name} imports {other}"
        for name in MODULES
        for other in IMPORTS[name]
        if within(name, package) and not any(within(other, each) for each in allowed)
    }
    none_of(offenders)


def test_private_modules_and_names_are_imported_in_their_own_package_alone():
    offenders = []
    for name, tree in TREES.items():
        package = name if name in PACKAGES else name.rpartition(".")[0]
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for whole in names:
                parts = whole.split(".")
                private = [i for i, x in enumerate(parts) if x[0] == "_" and x[:2] != "__"]
                if private and not within(package, ".".join(parts[: private[0]]) or whole):
                    offenders.append(f"{name} imports {whole}")
    none_of(offenders)


@pytest.mark.parametrize("root", ["rodflow", "experiments"])
def test_a_root_has_at_most_twelve_entries(root):
    entries = sorted(x.name for x in (ROOT / root).iterdir() if x.name != "__pycache__")
    assert len(entries) <= 12, entries


def test_attributes_of_the_library_are_assigned_in_init_alone():
    def assigned(node: ast.AST, inside: str = "") -> Iterator[int]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                yield from assigned(child, child.name)
                continue
            stored = isinstance(child, ast.Attribute) and isinstance(child.ctx, ast.Store)
            if stored and inside != "__init__":
                yield child.lineno
            yield from assigned(child, inside)

    offenders = [
        f"{name}:{line}"
        for name in MODULES
        if within(name, "rodflow")
        for line in assigned(TREES[name])
    ]
    none_of(offenders)


def documented() -> Iterator[tuple[str, str]]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for name, tree in TREES.items():
        for node in filter(lambda node: isinstance(node, kinds), ast.walk(tree)):
            if text := ast.get_docstring(node):  # type: ignore[arg-type]
                yield f"{name}:{getattr(node, 'lineno', 1)}", text


def test_a_docstring_begins_with_a_noun_or_a_verb():
    clauses = ("What", "Whether", "Who", "Whose", "How", "Where", "When", "Why")
    first = {at: text.splitlines()[0] for at, text in documented()}
    none_of(f"{at}: {line}" for at, line in first.items() if line.split()[0] in clauses)


def test_sections_of_docstrings_are_those_of_google():
    markers = ("**Arguments", "**Returns", "**Raises", "!!! ", "Parameters\n---", ":param ")
    none_of(at for at, text in documented() if any(x in text for x in markers))


def test_a_package_says_in_one_sentence_what_it_is_for():
    said = {name: ast.get_docstring(TREES[name]) or "" for name in PACKAGES}
    first = {name: text.partition("\n\n")[0] for name, text in said.items()}
    none_of(name for name, sentence in first.items() if not sentence.endswith((".", "?")))


def test_no_source_cites_a_file_that_the_repository_lacks():
    names = ("MATH.md", "DESIGN.md", "SEEDS.md", "STYLE.md")
    cited = [name for name, path in MODULES.items() if any(x in path.read_text() for x in names)]
    none_of(cited)


def test_no_file_is_longer_than_three_hundred_lines():
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    none_of(f"{name}: {length}" for name, length in lengths.items() if length > 300)


def defined(tree: ast.Module) -> Iterator[str]:
    """Yield the public names that the top level of a module defines, not those it imports."""
    for node in tree.body:
        names = []
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            nodes = [node for target in targets for node in ast.walk(target)]
            names = [node.id for node in nodes if isinstance(node, ast.Name)]
        yield from (name for name in names if not name.startswith("_"))


def test_public_names_of_the_subpackages_are_exported_by_them():
    offenders = []
    for name in MODULES:
        parts = name.split(".")
        if parts[0] != "rodflow" or len(parts) < 3 or any(x.startswith("_") for x in parts):
            continue
        package = TREES[".".join(parts[:-1])]
        exported = {
            (node.module, alias.name): alias.asname
            for node in package.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        if (".".join(parts[:-1]), parts[-1]) in exported:  # exported as a module, with all it has
            continue
        for public in defined(TREES[name]):
            if exported.get((name, public)) != public:
                offenders.append(f"{name}.{public}")
    none_of(offenders)
