"""Stage two: many small adapters trained from a store, and the choice among them.

Reads stores and writes RUN folders and bundles. Knows nothing of images, and never runs a backbone.
"""

from .bundle import Bundle, load_bundle
from .progress import Progress
from .run import Run, open_run
from .score import LayerScore, score
from .select import select
from .selection import Figures, Selected, Selection, TableRow
from .settings import ScoreSettings, SelectSettings, TrainSettings
from .train import train

__all__ = [
    "Bundle",
    "Figures",
    "LayerScore",
    "Progress",
    "Run",
    "ScoreSettings",
    "SelectSettings",
    "Selected",
    "Selection",
    "TableRow",
    "TrainSettings",
    "load_bundle",
    "open_run",
    "score",
    "select",
    "train",
]
