"""How the images of an extraction are decoded: as the store that is there says, as the user says, as the images ask.

What is settled here once is recorded in the store, and every later reader of its images goes by the record.
"""

from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from ..decoding.rules import DEFAULT, Decoding, recorded_decoding
from ..decoding.value_range import Extent, Kind, fitting_ranges
from ..settings import ExtractSettings


def asked_decoding(settings: ExtractSettings, recorded: Mapping[str, JsonValue] | None) -> Decoding | None:
    """Return the rules, but for a range that depends on the images.

    `recorded` is the preprocessing of the store that is there. None means to go on with one that was made without any
    rules, where the user asks for none.
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
    """Return the rules with the range that `auto` becomes of the images of a new store."""
    if asked is None or not is_new or asked_range != "auto":
        return asked
    return asked.model_copy(update={"range": fitting_ranges(extents)})
