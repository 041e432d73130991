"""The backbone and trained adapters together again, on raw images, and the methods that train inside a backbone."""

from .compare import CompareProgress, compare
from .comparison import Compared, Comparison, Interval
from .export import Exported, export
from .parity import Parity, parity
from .prediction import Prediction
from .predictor import Predictor
from .settings import CompareSettings

__all__ = [
    "CompareProgress",
    "CompareSettings",
    "Compared",
    "Comparison",
    "Exported",
    "Interval",
    "Parity",
    "Prediction",
    "Predictor",
    "compare",
    "export",
    "parity",
]
