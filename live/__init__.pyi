"""The names of `icecore.live`, by module; each is imported when it is first asked for."""

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
