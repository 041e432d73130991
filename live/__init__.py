"""The frozen backbone and trained adapters together again, on raw images. Knows nothing of stores or training."""

from .prediction import Prediction
from .predictor import Predictor

__all__ = ["Prediction", "Predictor"]
