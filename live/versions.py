"""What a live result was computed with."""

import importlib.metadata
import platform

LIBRARIES = ("icecore", "torch", "timm", "pillow", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that a number can depend on."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in LIBRARIES}
