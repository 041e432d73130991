"""Packages that import a module of theirs when a name of it is first asked for, so that no command waits for the rest.

The names and their modules are in the package's `__init__.pyi`, once, where type checkers read them too.
"""

import ast
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """A package whose names come from its modules; a name that is also a module's stands for what is in the module."""

    _homes: dict[str, str]

    def __getattr__(self, name: str) -> Any:
        """Import the module that has a name."""
        if name not in self._homes:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{self.__name__}.{self._homes[name]}"), name)
        super().__setattr__(name, found)
        return found

    def __dir__(self) -> list[str]:
        """Name what there is, imported or not."""
        return sorted({*super().__dir__(), *self._homes})

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, as Python does with every module it imports: `select.py` must not hide `select`."""
        if not (name in self._homes and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def lazy_package(name: str) -> None:
    """Make the package that calls this a LazyPackage of the names in its `__init__.pyi`."""
    package = sys.modules[name]
    stub = ast.parse(Path(str(package.__file__)).with_suffix(".pyi").read_text("utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    vars(package)["_homes"] = {alias.name: str(node.module) for node in imports for alias in node.names}
    vars(package)["__all__"] = list(vars(package)["_homes"])
    package.__class__ = LazyPackage
