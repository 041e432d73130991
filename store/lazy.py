"""Packages that import each module only when a name from that module is first used, so that commands start fast.

The names and their modules are listed once, in the `__init__.pyi` of the package, which type checkers read too.
"""

import ast
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """A package that imports its names on demand; where a name is also a module's (`select`), the name wins."""

    _homes: dict[str, str]

    def __getattr__(self, name: str) -> Any:
        """Import the module that defines a name, and return the value of the name."""
        if name not in self._homes:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{self.__name__}.{self._homes[name]}"), name)
        super().__setattr__(name, value)
        return value

    def __dir__(self) -> list[str]:
        """Return all names of the package, imported or not."""
        return sorted({*super().__dir__(), *self._homes})

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, unless Python sets the submodule `select` where the name `select` is the function."""
        if not (name in self._homes and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def lazy_package(name: str) -> None:
    """Turn the package of this name into a LazyPackage with the names in its `__init__.pyi`."""
    package = sys.modules[name]
    stub = ast.parse(Path(str(package.__file__)).with_suffix(".pyi").read_text("utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    vars(package)["_homes"] = {alias.name: str(node.module) for node in imports for alias in node.names}
    vars(package)["__all__"] = list(vars(package)["_homes"])
    package.__class__ = LazyPackage
