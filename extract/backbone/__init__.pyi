"""The public names of `icecore.extract.backbone`, by module; each is imported when it is first asked for."""

from .loading import LoadedModel, load_model
from .transform import Preprocessing

__all__ = [
    "LoadedModel",
    "Preprocessing",
    "load_model",
]
