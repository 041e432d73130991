"""Surveys the images of a data set: unusual headers, and the value range of images of more than 8 bits."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from icecore.store import UsageError

from ..backbone.transform import Preprocessing
from ..decoding.header import Header, read_header
from ..decoding.picture import Picture
from ..decoding.rules import Decoding
from ..decoding.value_range import Extent
from ..files.passing import is_passing
from ..files.tally import Tally
from ..sources import Source
from .reading import read
from .scan import Scan

NUM_LOOKED_AT = 1024  # at most; a seeded sample of the images of more than 8 bits
LEAST_KEPT = 0.1  # fraction of the area; users are told of images of which the crop keeps less


def extents(
    source: Source, places: Sequence[int], scan: Scan, rules: Decoding | None, num_threads: int = 4
) -> dict[str, Extent]:
    """Return the smallest and largest value of images of more than 8 bits, by key; bad images are left out.

    Raises:
        UsageError: no image says which of its bands are colours.
        PassingError: an image cannot be read.
    """
    if rules is None:
        return {}
    readable = [row for row, sample in enumerate(scan.samples) if sample.width]
    if readable and all(row in scan.odd and scan.odd[row].is_of_bands for row in readable):
        key = scan.samples[readable[0]].key
        raise UsageError(f"all images, first {key!r}, have bands of which none is a colour; choose some: --bands 4,3,2")
    deep = [row for row, header in scan.odd.items() if header.is_deep]
    chosen = sorted(np.random.default_rng(0).permutation(deep)[:NUM_LOOKED_AT].tolist())
    with ThreadPoolExecutor(num_threads, thread_name_prefix="survey") as pool:
        extents_of_chosen = list(pool.map(lambda row: _extent(source, places[row], rules), chosen))
    return {scan.samples[row].key: extent for row, extent in zip(chosen, extents_of_chosen, strict=True) if extent}


def _extent(source: Source, place: int, rules: Decoding) -> Extent | None:
    return _extent_of(read(source, place), rules)


def _extent_of(data: bytes, rules: Decoding) -> Extent | None:
    try:
        picture = Picture(data, rules)
        picture.require_no_bomb()
        channels = picture.channels()
        values = channels.colours
    except UsageError:
        raise
    except Exception as error:  # a bad image fails again, and is recorded, when its row is extracted
        if is_passing(error):  # without the values of this image the range could be another
            raise
        return None
    return None if channels.kind is None else Extent(channels.kind, float(values.min()), float(values.max()))


def note_oddities(tally: Tally, scan: Scan, extents: dict[str, Extent], transform: Preprocessing) -> None:
    """Count images that the user should know of: of several frames, transparent, turned, deep, long, out of range."""
    for row, header in scan.odd.items():
        _note_header(tally, scan.samples[row].key, header, transform.decoding)
    for sample in scan.samples:
        _note_shape(tally, sample.key, sample.width, sample.height, transform)
    for key, extent in extents.items():
        _note_values(tally, key, extent, transform.decoding)


def note_image(tally: Tally, key: str, data: bytes, transform: Preprocessing) -> None:
    """Count one image as `note_oddities` does; bytes that are no image are not counted."""
    rules = transform.decoding
    header = read_header(data, rules)
    if header is None:
        return
    _note_header(tally, key, header, rules)
    _note_shape(tally, key, header.width, header.height, transform)
    extent = _extent_of(data, rules) if rules and header.is_deep else None
    if extent is not None:
        _note_values(tally, key, extent, rules)


def _note_header(tally: Tally, key: str, header: Header, rules: Decoding | None) -> None:
    for is_so, what in (
        (header.has_frames, "images of several frames or pages: the first is taken"),
        (header.has_alpha, f"images with transparency: {_background(rules)}"),
        (header.is_turned, f"images turned by their EXIF: {'set upright' if rules else 'left as stored'}"),
        (header.is_deep, f"images of more than 8 bits a channel: {_range(rules)}"),
    ):
        if is_so:
            tally.note(what, key)


def _note_shape(tally: Tally, key: str, width: int | None, height: int | None, transform: Preprocessing) -> None:
    if width and height and transform.share_kept(width, height) < LEAST_KEPT:
        tally.note("images so long that the crop keeps less than a tenth of them", key)


def _note_values(tally: Tally, key: str, extent: Extent, rules: Decoding | None) -> None:
    if rules is not None and not _holds(rules, extent):
        tally.note("images with values beyond the range: these become its ends", key)


def _holds(rules: Decoding, extent: Extent) -> bool:
    """Return whether the range has all values of an image; the full range of an integer type always has."""
    low, high = rules.range.get(extent.kind, (0, 1) if extent.kind == "float" else (extent.low, extent.high))
    return low <= extent.low and extent.high <= high


def _background(rules: Decoding | None) -> str:
    if rules is None:
        return "their hidden colours are seen"
    name = {(255, 255, 255): "white", (0, 0, 0): "black"}.get(rules.background, ",".join(map(str, rules.background)))
    return f"laid on {name}"


def _range(rules: Decoding | None) -> str:
    if rules is None:
        return "clipped or cut to 8"
    ranges = [f"{low:g} to {high:g} of {kind}" for kind, (low, high) in sorted(rules.range.items())]
    return f"{' and '.join(ranges) or 'the range of their type'} become 0 to 255"
