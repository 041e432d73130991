"""The names of `icecore.live`, by module; each is imported when it is first asked for."""

from .comparison.compare import compare
from .comparison.comparison import Compared, Comparison, Interval
from .comparison.curve import Curve, most_compressible
from .finetune.finetune import FinetuneProgress
from .finetune.settings import CompareSettings, IntrinsicSettings
from .parity import Parity, parity
from .predict.export import Exported, export
from .predict.prediction import Prediction
from .predict.predictor import Predictor

__all__ = [
    "CompareSettings",
    "Compared",
    "Comparison",
    "Curve",
    "Exported",
    "FinetuneProgress",
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
