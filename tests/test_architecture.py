"""The rules of the house: layers, public names, immutability, docstrings and sizes.

They are read from the source alone. Each test names all that breaks its rule.
"""

import ast
import re
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
    "rodflow.sweep": ("rodflow._checks", "rodflow.linalg", "rodflow.maps"),
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


FOLDERS = ("rodflow", "experiments", "configs", "tests", "docs", "results")
ELSEWHERE = {  # in a run folder, in Optax, and with the readers
    *("config.yaml", "_common_test.py"),
    *("my_file.py", "my_flows.py", "models_of_mine.py", "mine.yaml"),
}
CITED = re.compile(
    r"(?<![\w./~*{}<>-])(?:[\w-]+/)*[\w-]+\.(?:md|py|yaml|yml|toml|cff|bib)\b(?![\w(/*=-])"
)


def texts() -> dict[str, str]:
    """Read sources, configurations, documentation and tests, by their path in the repository."""
    top = [path for path in ROOT.iterdir() if path.is_file()]
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    kinds = {".py", ".md", ".yaml", ".toml", ".cff", ".bib", ""}
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in [*top, *inside, *(ROOT / ".ci").iterdir()]
        if path.suffix in kinds and not {"__pycache__", "_build"} & {*path.parts}
    }


def cited(text: str) -> Iterator[str]:
    """Yield the names of files that a text mentions, relative to some folder."""
    yield from (found[0] for found in CITED.finditer(text))


def test_no_text_cites_a_file_that_the_repository_lacks():
    held = texts()
    # Each of these lines of the guide is followed by the file, which its reader is to make.
    made = set(re.findall(r"^`(\S+)`$", held["CONTRIBUTING.md"], re.MULTILINE))
    ends = {path.split("/", start)[-1] for path in held for start in range(path.count("/") + 1)}
    here = str(Path(__file__).relative_to(ROOT))  # with made-up names below
    none_of(
        f"{path} cites {name}"
        for path, text in held.items()
        for name in cited(text)
        # Tests make files of their own, in folders of their own.
        if path != here
        and name not in ends | made
        and name.split("/")[-1] not in ELSEWHERE
        and not (path.startswith("tests/") and "/" not in name and not name.endswith(".md"))
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("See NOTES.md, and docs/theory/rod.md.", ["NOTES.md", "docs/theory/rod.md"]),
        ("`rodflow/flows/none.py` and a/b.yaml", ["rodflow/flows/none.py", "a/b.yaml"]),
        ("https://a.b/c.md ~/mine/d.py {name}.yaml *.py optax.md() results.nc", []),
    ],
)
def test_citations_of_files_are_found(text, names):
    assert list(cited(text)) == names


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
