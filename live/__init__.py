"""The backbone and trained adapters together again, on raw images, and the methods that train inside a backbone."""

from .compare import CompareProgress, compare
from .comparison import Compared, Comparison, Interval
from .curve import Curve, most_compressible
from .export import Exported, export
from .parity import Parity, parity
from .prediction import Prediction
from .predictor import Predictor
from .settings import CompareSettings, IntrinsicSettings

__all__ = [
    "CompareProgress",
    "CompareSettings",
    "Compared",
    "Comparison",
    "Curve",
    "Exported",
    "Interval",
    "IntrinsicSettings",
    "Parity",
    "Prediction",
    "Predictor",
    "compare",
    "export",
    "most_compressible",
    "parity",
]
