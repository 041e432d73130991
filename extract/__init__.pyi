"""The names of `icecore.extract`, by module; each is imported when it is first asked for."""

from .backbone import Backbone
from .backbone_loading import load_backbone
from .extract import extract
from .layers import parse_layers
from .preflight import Preflight, preflight
from .progress import Progress
from .recompute import LayerDifference, recompute
from .report import ExtractReport
from .settings import ExtractSettings
from .sources import SOURCES, Source, open_source

__all__ = [
    "SOURCES",
    "Backbone",
    "ExtractReport",
    "ExtractSettings",
    "LayerDifference",
    "Preflight",
    "Progress",
    "Source",
    "extract",
    "load_backbone",
    "open_source",
    "parse_layers",
    "preflight",
    "recompute",
]
