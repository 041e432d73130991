"""The `icecore` command and `pipelines.yaml`: words in, lines out; everything else is in the stages."""

from .app import main

__all__ = ["main"]
