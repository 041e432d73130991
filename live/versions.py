"""The versions of Python and of the libraries that computed a live result."""

import importlib.metadata
import platform

LIBRARIES = ("icecore", "torch", "timm", "pillow", "numpy")


def versions() -> dict[str, str]:
    """Return the version of Python and of every library that predictions can depend on, by name."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}
