"""The report: a run folder as one HTML page. Reads the run's own files (and its store's size), computes no result."""

from .command import report

__all__ = ["report"]
