"""The order of the packages: each imports only from those before it, and no module from itself."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ("structures", "models", "screening", "benchmarks")
NEVER_IMPORTED = ("tests", "notebooks")


def find_modules(root: Path) -> dict[str, Path]:
    """Name inside ``ionbridge`` -> file, for every module of the ordered packages."""
    modules = {}
    for package in ORDER:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


class ImportVisitor(ast.NodeVisitor):
    """Every name a module imports, also inside functions.

    Imports for the type checker alone count for the order of the packages, not for cycles: they
    never run.
    """

    def __init__(self, module: str, is_package: bool):
        self.package = module.split(".") if is_package else module.split(".")[:-1]
        self.type_checking = False
        self.found: list[tuple[str, bool]] = []  # imported name, runs

    def visit_If(self, node: ast.If) -> None:
        if not is_type_checking(node.test):
            self.generic_visit(node)
            return
        self.type_checking = True
        for statement in node.body:
            self.visit(statement)
        self.type_checking = False
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [(alias.name, not self.type_checking) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = [node.module] if node.module else []
        if node.level:
            base = self.package[: len(self.package) - node.level + 1] + base
        for alias in node.names:
            self.found.append((".".join([*base, alias.name]), not self.type_checking))


def imports_of(module: str, path: Path) -> list[tuple[str, bool]]:
    visitor = ImportVisitor(module, path.name == "__init__.py")
    visitor.visit(ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return [(name.removeprefix("ionbridge."), runs) for name, runs in visitor.found]


def order_violations(root: Path) -> list[str]:
    found = []
    for module, path in find_modules(root).items():
        allowed = ORDER[: ORDER.index(module.split(".")[0]) + 1]
        for name, _ in imports_of(module, path):
            top = name.split(".")[0]
            if top in NEVER_IMPORTED or (top in ORDER and top not in allowed):
                found.append(f"{module} imports {name}")
    return found


def find_cycle(root: Path) -> list[str]:
    """The modules of one import cycle, or none."""
    modules = find_modules(root)
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        targets = set()
        for name, runs in imports_of(module, path):
            # What is imported is a module, or something inside the module named before it.
            known = [m for m in (name, name.rpartition(".")[0]) if m in modules]
            if runs and known:
                targets.add(known[0])
        graph[module] = targets - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_packages_import_only_from_those_before_them():
    assert not order_violations(ROOT)


def test_no_import_cycles():
    assert not find_cycle(ROOT)


def test_no_module_is_called_utils():
    files = [p for package in ORDER for p in (ROOT / package).rglob("*") if "utils" in p.stem]
    assert not files


def short_docstrings(root: Path) -> list[str]:
    """Public names of the packages whose docstring has under five words."""
    found = []
    for package in ORDER[:-1]:
        for path in sorted((root / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            nodes = [(path.stem, tree)] if path.stem != "__init__" else []
            while nodes:
                name, node = nodes.pop()
                if len((ast.get_docstring(node) or "").split()) < 5:
                    found.append(f"{path.relative_to(root)}: {name}")
                for child in node.body:
                    is_def = isinstance(
                        child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
                    )
                    inside = isinstance(node, ast.Module | ast.ClassDef)
                    if is_def and inside and not child.name.startswith("_"):
                        nodes.append((child.name, child))
    return found


def test_public_docstrings_say_something():
    assert not short_docstrings(ROOT)


@pytest.fixture
def house(tmp_path):
    """A small project to show that the checks above can fail."""

    def build(**sources):
        for name, text in sources.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return build


class TestTheChecksThemselves:
    @pytest.mark.parametrize(
        ("module", "text"),
        [
            ("structures__a", "import ionbridge.models.b"),
            ("models__a", "def f():\n    from ionbridge.screening import cli"),
            ("structures__a", "from ionbridge.models import b"),
            ("screening__a", "from tests import tolerances"),
            ("screening__a", "from benchmarks.speed import measure"),
        ],
    )
    def test_wrong_order_is_found(self, house, module, text):
        assert len(order_violations(house(**{module: text}))) == 1

    def test_a_docstring_of_four_words_is_found(self, house):
        text = '"""A module of five words."""\n\n\ndef f():\n    """Does what it does."""\n'
        assert short_docstrings(house(models__a=text)) == ["models/a.py: f"]

    def test_right_order_passes(self, house):
        root = house(screening__a="import numpy\nfrom structures.b import c", structures__b="c = 1")
        assert not order_violations(root)

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ("from ionbridge.structures.b import f", "import ionbridge.structures.a"),
            (
                "from ionbridge.structures import b",
                "def f():\n    from ionbridge.structures.a import g",
            ),
            ("from .b import f", "from . import a"),
        ],
    )
    def test_cycles_are_found(self, house, a, b):
        root = house(structures____init__="", structures__a=a, structures__b=b)
        assert {"structures.a", "structures.b"} <= set(find_cycle(root))

    def test_types_alone_make_no_cycle(self, house):
        lazy = (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from ionbridge.structures.a import f"
        )
        assert not find_cycle(
            house(structures__a="import ionbridge.structures.b", structures__b=lazy)
        )

    def test_empty_folders_pass(self, tmp_path):
        assert not order_violations(tmp_path)
        assert not find_cycle(tmp_path)
