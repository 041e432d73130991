"""What is worth knowing of the images of a data set: seen in their headers, and in the values of the deep ones."""

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

NUM_LOOKED_AT = 1024  # deep images whose values are looked at; of more, a seeded sample
LEAST_KEPT = 0.1  # of the area of an image


def extents(
    source: Source, places: Sequence[int], scan: Scan, rules: Decoding | None, num_threads: int = 4
) -> dict[str, Extent]:
    """Return the values that deep images use, by key; of those that can be decoded.

    Raises:
        UsageError: every image has bands that must be chosen.
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
        found = list(pool.map(lambda row: _extent(source, places[row], rules), chosen))
    return {scan.samples[row].key: one for row, one in zip(chosen, found, strict=True) if one is not None}


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
    except Exception as error:  # a bad image is found when it is decoded for its row
        if is_passing(error):  # without its values the range would be another
            raise
        return None
    return None if channels.kind is None else Extent(channels.kind, float(values.min()), float(values.max()))


def note_oddities(tally: Tally, scan: Scan, found: dict[str, Extent], transform: Preprocessing) -> None:
    """Count the images that become pixels in a way that the user should know of."""
    for row, header in scan.odd.items():
        _note_header(tally, scan.samples[row].key, header, transform.decoding)
    for sample in scan.samples:
        _note_shape(tally, sample.key, sample.width, sample.height, transform)
    for key, extent in found.items():
        _note_values(tally, key, extent, transform.decoding)


def note_image(tally: Tally, key: str, data: bytes, transform: Preprocessing) -> None:
    """Count one image as `note_oddities` does; nothing where its bytes are none."""
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
    """Say whether the range has all values of an image; that of a type of whole numbers always has."""
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
