"""Stage two: many small adapters trained from a store, and the choice among them.

Reads stores and writes RUN folders and bundles. Knows nothing of images, and never runs a backbone.
"""

from .run import Run, open_run
from .settings import SelectSettings, TrainSettings
from .train import Progress, train

__all__ = ["Progress", "Run", "SelectSettings", "TrainSettings", "open_run", "train"]
