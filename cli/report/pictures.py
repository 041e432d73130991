"""The pictures of a run's rows, read from the source that the store names, as data URLs for the page."""

import base64
import hashlib
import io
from collections.abc import Callable
from typing import Any

from PIL import Image

from icecore.extract import Source, open_source, parse_command
from icecore.extract.decoding import Decoding, recorded_decoding
from icecore.store import IcecoreError, Store

Look = Callable[[int], Image.Image | None]


def pictures(store: Store | None) -> Look | str:
    """Return a function from row to picture (None where the source has changed); or a sentence why there are none."""
    if store is None:
        return "No pictures: the store was not there when this page was made."
    try:
        _, settings = parse_command(store.spec.command)  # says what the columns are called
        source = open_source(store.spec.source, settings.columns)
    except (IcecoreError, OSError) as error:
        return f"No pictures: the source {store.spec.source} could not be opened when this page was made ({error})."
    keys, digests = store.samples["key"].to_pylist(), store.samples["sha256"].to_pylist()
    places = {sample.key: place for place, sample in enumerate(source.samples)}
    rules = recorded_decoding(store.identity.preprocessing)
    return lambda row: _picture(source, places.get(keys[row]), digests[row], rules)


def _picture(source: Source, place: int | None, sha256: str, rules: Decoding | None) -> Image.Image | None:
    if place is None:
        return None
    try:
        data = source.read(place)
        return source.decode(data, rules) if hashlib.sha256(data).hexdigest() == sha256 else None
    except Exception:  # of the dozen types that Pillow raises, or the source's disk: a picture is missing, no more
        return None


def as_seen(image: Image.Image, preprocessing: dict[str, Any]) -> Image.Image:
    """Return the square that the backbone sees: the shorter side resized, the centre cropped."""
    height, width = preprocessing["input_size"][1:]
    scale = max(height, width) / preprocessing.get("crop_pct", 1.0) / min(image.size)
    resized = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    return resized.crop((left, top, left + width, top + height))


def as_data(image: Image.Image, side: int = 176) -> str:
    """Return the image as a data URL, shrunk where its longer side exceeds the limit in pixels."""
    image = image.convert("RGB")
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
