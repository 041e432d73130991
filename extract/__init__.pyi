"""The names of `icecore.extract`, by module; each is imported when it is first asked for."""

from .backbone.backbone import Backbone
from .backbone.loading import load_backbone
from .extract import extract
from .job.progress import Progress
from .job.report import ExtractReport
from .preflight import Preflight, preflight
from .recompute import LayerDifference, images_of, recompute, worse
from .settings import ExtractSettings, SourceSettings, parse_command
from .sources import SOURCES, Source, open_source
from .tokens import parse_layers, reduction

__all__ = [
    "Backbone",
    "ExtractReport",
    "ExtractSettings",
    "LayerDifference",
    "Preflight",
    "Progress",
    "SOURCES",
    "Source",
    "SourceSettings",
    "extract",
    "images_of",
    "load_backbone",
    "open_source",
    "parse_command",
    "parse_layers",
    "preflight",
    "recompute",
    "reduction",
    "worse",
]
