"""Image files of every odd kind: without rules decoded as Pillow does for timm, or refused with the cause."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icecore.extract import ExtractSettings, extract
from icecore.extract.decoding.decode import decode_image
from icecore.store import open_store

from ..conftest import BACKBONE, image_bytes

COLOUR = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(Image.fromarray(COLOUR), "JPEG", exif=exif)


def animated() -> bytes:
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


def palette(transparency: object) -> bytes:
    return saved(Image.fromarray(COLOUR).quantize(16), transparency=transparency)


GOOD: dict[str, Callable[[], bytes]] = {
    "EXIF orientation": rotated,
    "greyscale": lambda: saved(Image.fromarray(GREY), "JPEG"),
    "greyscale with alpha": lambda: saved(Image.fromarray(COLOUR).convert("LA")),
    "one bit": lambda: saved(Image.fromarray(GREY).convert("1")),
    "CMYK": lambda: saved(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"),
    "16 bits": lambda: saved(Image.fromarray(GREY.astype(np.uint16) * 257)),
    "16 bits of TIFF": lambda: saved(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF"),
    "float": lambda: saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
    "palette": lambda: saved(Image.fromarray(COLOUR).quantize(16)),
    "palette, a transparent colour": lambda: palette(3),
    "palette, transparency by colour": lambda: palette(bytes(range(16))),
    "RGBA": lambda: saved(Image.fromarray(COLOUR).convert("RGBA")),
    "animated GIF": animated,
    "WebP": lambda: saved(Image.fromarray(COLOUR), "WEBP"),
    "bytes after the end": lambda: image_bytes(0) + b"rubbish",
}
BAD: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", "ValueError: no known image format in 0 bytes"),
    "HTML": (b"<html>", "ValueError: no known image format in 6 bytes"),
    "truncated JPEG": (image_bytes(0)[:400], "OSError: .*[Tt]runcated"),
    "truncated PNG": (image_bytes(0, "PNG")[:900], "OSError: .*[Tt]runcated|SyntaxError"),
    "truncated header": (image_bytes(0, "PNG")[:20], "ValueError|SyntaxError|OSError"),
    "broken chunk": (image_bytes(0, "PNG").replace(b"IDAT", b"IDOT"), "SyntaxError|OSError|ValueError"),
}


@pytest.mark.parametrize("name", GOOD)
def test_without_rules_an_odd_image_is_what_pillow_makes_of_it_for_timm(name: str) -> None:
    data = GOOD[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = Image.open(io.BytesIO(data)).convert("RGB")
    found = decode_image(data, None)
    assert (found.mode, found.size) == ("RGB", expected.size)
    assert np.array_equal(np.asarray(found), np.asarray(expected))


def test_what_cannot_be_decoded_is_in_the_ledger_with_the_cause(checkpoint: str, tmp_path: Path) -> None:
    (tmp_path / "images" / "ant").mkdir(parents=True)
    for number, data in enumerate([*(make() for make in GOOD.values()), *(data for data, _ in BAD.values())]):
        (tmp_path / "images" / "ant" / f"{number:03d}.png").write_bytes(data)
    settings = ExtractSettings(backbone=BACKBONE, checkpoint=checkpoint, layers="0")
    extract(f"folder:{tmp_path / 'images'}", str(tmp_path / "s.ice"), settings)
    failed = open_store(str(tmp_path / "s.ice")).failed
    assert list(failed) == list(range(len(GOOD), len(GOOD) + len(BAD)))
    for cause, (name, (_, message)) in zip(failed.values(), BAD.items(), strict=True):
        with pytest.raises(ValueError, match=message):
            raise ValueError(cause)
        assert "\n" not in cause, name
