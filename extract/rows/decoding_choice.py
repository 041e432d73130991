"""Chooses the decoding rules of an extraction from the existing store, the settings and the images.

The store records the rules, and every later reader of its images uses the recorded rules.
"""

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from ..decoding.rules import DEFAULT, Decoding, recorded_decoding
from ..decoding.value_range import Extent, Kind, fitting_ranges
from ..settings import ExtractSettings


def asked_decoding(settings: ExtractSettings, recorded: Mapping[str, JsonValue] | None) -> Decoding | None:
    """Return the decoding rules, without a range that depends on the images.

    Args:
        settings: the user's choices.
        recorded: the preprocessing of the existing store; None where there is no store.

    Returns:
        None where the existing store was made without rules and the user asks for none.
    """
    stored = None if recorded is None else recorded_decoding(recorded)
    asks = settings.range != "auto" or settings.background is not None or settings.bands is not None
    if recorded is not None and stored is None and not asks:
        return None
    ranges: dict[Kind, tuple[float, float]] = {}
    if isinstance(settings.range, tuple):
        ranges = {"int": settings.range, "float": settings.range}
    elif stored and settings.range == "auto":
        ranges = stored.range
    return Decoding(
        background=settings.background or (stored or DEFAULT).background, range=ranges, bands=settings.bands
    )


def settled_decoding(
    asked: Decoding | None, is_new: bool, asked_range: object, extents: Iterable[Extent]
) -> Decoding | None:
    """Return the rules; for a new store with range `auto`, with the range that fits the extents of its images."""
    if asked is None or not is_new or asked_range != "auto":
        return asked
    return asked.model_copy(update={"range": fitting_ranges(extents)})
