"""The rules of the architecture: who may import whom, how large a room may be, what is shipped and what is public."""

import ast
import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "store": set[str](),
    "extract": {"store"},
    "train": {"store"},
    "live": {"store", "extract", "train"},
    "cli": {"store", "extract", "train", "live"},
}
FOLDERS = tuple(MAY_IMPORT)
# The rooms of each folder and the modules beside them, from the bottom up: each imports what is further down alone.
LEVELS = {
    "store": (
        {"errors", "configuration", "lazy"},
        {"choose", "cluster", "files"},
        {"compute", "format"},
        {"codecs"},
        {"documents"},
        {"reading", "writing"},
    ),
    "extract": (
        {"decoding", "tokens"},
        {"backbone", "files"},
        {"labels"},
        {"settings", "sources"},
        {"description", "rows"},
        {"job"},
        {"preparation", "recompute"},
        {"extract", "preflight"},
    ),
    "train": (
        {"modules", "settings", "targets"},
        {"splits", "tokens"},
        {"adapters", "runs"},
        {"scores"},
        {"sweep"},
        {"selection", "train"},
    ),
    "live": ({"versions", "weights"}, {"finetune", "predict"}, {"comparison", "parity"}),
    "cli": ({"show"}, {"options", "report"}, {"pipeline"}, {"commands"}, {"app"}),
}
MOST_FILES = 18  # in a room, its __init__.py among them
ONLY_IN = {
    "timm": ("extract/backbone/", "extract/sources/timm", "live/"),
    "zarr": ("store/",),
    "yaml": ("cli/",),
    "dask": ("store/cluster",),
    "distributed": ("store/cluster",),
}
TABLES = {
    "store.codecs": ("CODECS", set[str]()),
    "extract.sources": ("SOURCES", {"listed"}),
    "live.finetune.methods": ("METHODS", set[str]()),
    "train.adapters": ("ADAPTERS", {"adapter", "optional", "layers_and_heads", "through_blocks"}),
    "train.scores": ("SCORES", {"score", "features"}),
    "train.selection.selectors": ("SELECTORS", set[str]()),
}


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


SOURCES = list(sources())
PACKAGES = sorted({path.parent for path in SOURCES})


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Yield what a file imports, below `icecore` from the top: `train.runs.run.Run`, `torch`."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*(["icecore", *above] if node.level else []), *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(module: str) -> tuple[str, ...]:
    """Return the parts of an internal import without `icecore`; nothing for any other."""
    parts = module.split(".")
    return tuple(parts[1:]) if parts[0] == "icecore" else ()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_follow_the_architecture(path: Path) -> None:
    name = name_of(path)
    folder = name.split("/")[0]
    for module in imports(path):
        parts = within(module)
        if parts:
            assert parts[0] in {folder, *MAY_IMPORT[folder]}, f"{name}: {folder} may not import {module}"
        else:
            allowed = ONLY_IN.get(module.split(".")[0])
            assert allowed is None or name.startswith(allowed), f"{name}: {module} is imported only in {allowed}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_import_runs_upwards(path: Path) -> None:
    folder, room, *_ = path.relative_to(ROOT).with_suffix("").parts
    if room == "__init__":
        return
    level = {each: number for number, rooms in enumerate(LEVELS[folder]) for each in rooms}
    assert room in level, f"{folder}/{room}: is on no level of LEVELS"
    for module in imports(path):
        match within(module):
            case (top, other, *_) if top == folder and other in level and other != room:
                assert level[other] < level[room], f"{name_of(path)}: imports {module}, which is not further down"
            case _:
                pass


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_other_folders_use_the_public_names_of_a_package(path: Path) -> None:
    folder = name_of(path).split("/")[0]
    for module in imports(path):
        parts = within(module)
        if parts and parts[0] != folder:
            home = ROOT.joinpath(*parts[:-1])
            assert home.is_dir(), f"{name_of(path)}: imports {module} out of a module; import it from its package"


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_a_room_is_small_and_says_what_it_is_for(package: Path) -> None:
    files = list(package.glob("*.py"))
    assert len(files) <= MOST_FILES, f"{name_of(package)} has {len(files)} files"
    said = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    assert said, f"{name_of(package)}/__init__.py does not say what the room is for"


def test_every_package_is_shipped() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    assert listed == {"icecore." + ".".join(package.relative_to(ROOT).parts) for package in PACKAGES}


@pytest.mark.parametrize("package", [each for each in PACKAGES if (each / "__init__.pyi").exists()], ids=name_of)
def test_a_package_gives_what_its_stub_names_whatever_was_imported_before(package: Path) -> None:
    name = "icecore." + ".".join(package.relative_to(ROOT).parts)
    loaded = importlib.import_module(name)
    stub = ast.parse((package / "__init__.pyi").read_text())
    named = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(named) == set(loaded.__all__) <= set(dir(loaded))
    for public, module in named.items():
        home = importlib.import_module(f"{name}.{module}")  # `select.py` does not hide `select`
        assert getattr(loaded, public) is getattr(home, public)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = loaded.nothing


@pytest.mark.parametrize("family", TABLES)
def test_every_plug_in_is_in_its_table(family: str) -> None:
    table, parts_of_the_contract = TABLES[family]
    files = {path.stem for path in (ROOT / family.replace(".", "/")).glob("*.py")} - {"__init__"}
    assert set(getattr(importlib.import_module(f"icecore.{family}"), table)) == files - parts_of_the_contract
