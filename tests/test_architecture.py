"""The rules of the architecture: who may import whom, which packages are shipped, and that no plug-in is forgotten."""

import ast
import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("store", "extract", "train", "live", "cli")
MAY_IMPORT = {
    "store": set[str](),
    "extract": {"store"},
    "train": {"store"},
    "live": {"store", "extract", "train"},
    "cli": {"store", "extract", "train", "live"},
}
ONLY_IN = {
    "timm": ("extract/backbone", "extract/sources/timm", "live/"),
    "zarr": ("store/",),
    "yaml": ("cli/",),
    "dask": ("extract/distributed", "train/distributed"),
    "distributed": ("extract/distributed", "train/distributed"),
}
TABLES = {
    "store.codecs": ("CODECS", set[str]()),
    "extract.sources": ("SOURCES", set[str]()),
    "live.methods": ("METHODS", set[str]()),
    "train.adapters": ("ADAPTERS", set[str]()),
    "train.scores": ("SCORES", set[str]()),
    "train.selectors": ("SELECTORS", set[str]()),
}


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_architecture(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    folder = name.split("/")[0]
    depth = name.count("/")
    for module in imports(path):
        if module.startswith("."):
            dots = len(module) - len(module.lstrip("."))
            assert dots <= depth, f"{name}: {module} leaves its folder; import icecore.<folder> instead"
        elif module.startswith("icecore."):
            assert module.split(".")[1] in MAY_IMPORT[folder], f"{name}: {folder} may not import {module}"
        else:
            allowed = ONLY_IN.get(module.split(".")[0])
            assert allowed is None or name.startswith(allowed), f"{name}: {module} is imported only in {allowed}"


def test_every_package_is_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    found = {"icecore." + ".".join(path.parent.relative_to(ROOT).parts) for path in sources()}
    assert found == listed


@pytest.mark.parametrize("folder", ["store", "extract", "train", "live"])
def test_a_package_gives_what_its_stub_names_whatever_was_imported_before(folder: str) -> None:
    package = importlib.import_module(f"icecore.{folder}")
    stub = ast.parse((ROOT / folder / "__init__.pyi").read_text())
    named = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(named) == set(package.__all__) <= set(dir(package))
    for name, module in named.items():
        home = importlib.import_module(f"icecore.{folder}.{module}")  # `select.py` does not hide `select`
        assert getattr(package, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.parametrize("family", TABLES)
def test_every_plug_in_is_in_its_table(family: str) -> None:
    table, parts_of_the_contract = TABLES[family]
    files = {path.stem for path in (ROOT / family.replace(".", "/")).glob("*.py")} - {"__init__"}
    assert set(getattr(importlib.import_module(f"icecore.{family}"), table)) == files - parts_of_the_contract
