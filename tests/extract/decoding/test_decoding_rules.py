"""The rules of decoding: more than 8 bits, orientation, transparency and bands give the picture that people see."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from icecore.extract.decoding.decode import decode_image
from icecore.extract.decoding.picture import Picture
from icecore.extract.decoding.rules import Decoding, recorded_decoding
from icecore.extract.decoding.value_range import Extent, fitting_ranges
from icecore.store import IdentityError, UsageError

COLOUR = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
COLOUR[0, 0], COLOUR[0, 1] = 0, 255
GREY = COLOUR[..., 0]
DEEP = COLOUR.astype(np.uint16) * 257


def saved(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def tiff(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def png(values: np.ndarray, transparent: Sequence[int] = ()) -> bytes:
    """Write a PNG of 16 bits a channel, which Pillow does for grey alone."""
    values = values if values.ndim == 3 else values[..., None]
    height, width, num_channels = values.shape
    colours = {1: 0, 2: 4, 3: 2, 4: 6}[num_channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0)),
        *([(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))] if transparent else []),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    parts = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def netpbm(values: np.ndarray, maxval: int) -> bytes:
    kind = b"P5" if values.ndim == 2 else b"P6"
    return kind + b" %d %d %d\n" % (values.shape[1], values.shape[0], maxval) + values.astype(">u2").tobytes()


def decoded(data: bytes, **rules: object) -> np.ndarray:
    return np.asarray(decode_image(data, Decoding.model_validate(rules)))


def automatic(*files: bytes) -> dict:
    extents = []
    for data in files:
        channels = Picture(data, Decoding()).channels()
        if channels.kind is not None:
            values = channels.colours
            extents.append(Extent(channels.kind, float(values.min()), float(values.max())))
    return fitting_ranges(extents)


TWINS: dict[str, Callable[[], tuple[bytes, np.ndarray]]] = {
    "PNG grey": lambda: (png(DEEP[..., 0]), GREY),
    "PNG colour": lambda: (png(DEEP), COLOUR),
    "TIFF grey": lambda: (saved(DEEP[..., 0], "TIFF"), GREY),
    "TIFF grey, compressed": lambda: (tiff(DEEP[..., 0], compression="lzw", predictor=True), GREY),
    "TIFF grey, big-endian": lambda: (tiff(DEEP[..., 0], byteorder=">"), GREY),
    "TIFF grey, white is zero": lambda: (tiff(65535 - DEEP[..., 0], photometric="miniswhite"), GREY),
    "TIFF colour": lambda: (tiff(DEEP, photometric="rgb"), COLOUR),
    "TIFF colour, planes": lambda: (tiff(DEEP.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), COLOUR),
    "TIFF colour, compressed": lambda: (tiff(DEEP, photometric="rgb", compression="zlib"), COLOUR),
    "BigTIFF": lambda: (tiff(DEEP[..., 0], bigtiff=True), GREY),
    "12 bits in 16": lambda: (png(np.rint(COLOUR / 255 * 4095).astype(np.uint16)), COLOUR),
    "12 bits in 16, TIFF": lambda: (saved(np.rint(GREY / 255 * 4095).astype(np.uint16), "TIFF"), GREY),
    "8 bits in 16": lambda: (png(COLOUR.astype(np.uint16)), COLOUR),
    "16 bits with a sign": lambda: (tiff((DEEP[..., 0].astype(np.int32) - 32768).astype(np.int16)), GREY),
    "8 bits with a sign": lambda: (tiff((GREY.astype(np.int16) - 128).astype(np.int8)), GREY),
    "32 bits": lambda: (tiff(GREY.astype(np.uint32) * 16843009), GREY),
    "32 bits, big-endian": lambda: (tiff(GREY.astype(np.uint32) * 16843009, byteorder=">"), GREY),
    "32 bits with a sign": lambda: (tiff((GREY.astype(np.int64) * 16843009 - 2**31).astype(np.int32)), GREY),
    "16 bits in 32": lambda: (tiff(DEEP[..., 0].astype(np.int32)), GREY),
    "float": lambda: (tiff((GREY / 255).astype(np.float32)), GREY),
    "float of 64 bits": lambda: (tiff(GREY / 255), GREY),
    "float of 16 bits": lambda: (tiff((GREY / 255).astype(np.float16)), GREY),
    "float colour": lambda: (tiff((COLOUR / 255).astype(np.float32), photometric="rgb"), COLOUR),
    "float to 255": lambda: (tiff(GREY.astype(np.float32)), GREY),
    "float to 65535": lambda: (tiff(GREY.astype(np.float32) * 257), GREY),
    "float around 0": lambda: (tiff((GREY / 127.5 - 1).astype(np.float32)), GREY),
    "float of some unit": lambda: (tiff((GREY / 255 * 30 + 280).astype(np.float32)), GREY),
    "PGM": lambda: (netpbm(DEEP[..., 0], 65535), GREY),
    "PGM of 12 bits": lambda: (netpbm(np.rint(GREY / 255 * 4095), 4095), GREY),
    "PPM": lambda: (netpbm(DEEP, 65535), COLOUR),
    "PPM of 12 bits": lambda: (netpbm(np.rint(COLOUR / 255 * 4095), 4095), COLOUR),
}


@pytest.mark.parametrize("name", TWINS)
def test_an_image_of_more_bits_is_its_twin_of_eight(name: str) -> None:
    data, twin = TWINS[name]()
    found = decoded(data, range=automatic(data)).astype(int)
    twin = np.broadcast_to(twin[..., None] if twin.ndim == 2 else twin, found.shape).astype(int)
    assert np.abs(found - twin).max() <= (0 if "12" not in name and "float of 16" not in name else 1)


def test_every_level_of_a_deep_ramp_is_kept() -> None:
    ramp = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    for data in (png(ramp), saved(ramp, "TIFF"), tiff((ramp / 65535).astype(np.float32)), tiff(ramp.astype(np.int32))):
        assert len(np.unique(decoded(data, range=automatic(data)))) == 256


def test_one_range_serves_all_images_so_that_the_brighter_stays_brighter() -> None:
    dark, bright = png(np.full((4, 4), 1000, np.uint16)), png(np.full((4, 4), 3000, np.uint16))
    ranges = automatic(dark, bright)
    assert ranges == {"int": (0, 4095)}
    assert decoded(dark, range=ranges).max() == round(1000 / 4095 * 255)
    assert decoded(bright, range=ranges).min() == round(3000 / 4095 * 255)


def test_a_range_is_the_types_or_what_the_user_says() -> None:
    data = png(np.array([[0, 1000, 2000, 65535]], np.uint16))
    assert decoded(data)[0, :, 0].tolist() == [0, 4, 8, 255]
    assert decoded(data, range={"int": (1000, 2000)})[0, :, 0].tolist() == [0, 0, 255, 255]
    assert decoded(tiff(np.array([[-1.0, 0.5, 2.0]], np.float32)))[0, :, 0].tolist() == [0, 128, 255]
    assert decoded(saved(GREY, "PNG"), range={"int": (0, 10)})[..., 0].tolist() == GREY.tolist()  # bytes are bytes


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_no_image(bad: float) -> None:
    values = np.zeros((5, 7), np.float32)
    values[1, 2] = bad
    with pytest.raises(ValueError, match="1 of 35 values are NaN or infinite; expected finite ones"):
        decoded(tiff(values))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_is_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(COLOUR, kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert np.array_equal(decoded(data), np.asarray(expected))
    turned = orientation in range(5, 9)
    assert expected.size == ((7, 9) if turned else (9, 7))


def test_deep_pictures_are_upright_too() -> None:
    turned = np.rot90(GREY, -1)
    for data in (
        tiff(DEEP[..., 0], extratags=[(274, 3, 1, 6, True)]),
        tiff(np.dstack([DEEP[..., 0]] * 3), photometric="rgb", extratags=[(274, 3, 1, 6, True)]),
    ):
        assert np.array_equal(decoded(data)[..., 0], turned)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_costs_no_image() -> None:
    data = saved(COLOUR, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decoded(data).shape == COLOUR.shape


ALPHA = np.zeros((7, 9), np.uint8)
ALPHA[2:5, 3:6] = 255  # a black square on nothing
BLACK = np.zeros((7, 9), np.uint8)


def with_palette(transparency: object) -> bytes:
    image = Image.fromarray((ALPHA > 0).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 0, 0, 0])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=transparency)
    return file.getvalue()


def in_mode(mode: str, kind: str) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(np.dstack([BLACK, BLACK, BLACK, ALPHA])).convert(mode)
    image.save(file, kind)
    return file.getvalue()


SQUARES: dict[str, Callable[[], bytes]] = {
    "RGBA": lambda: in_mode("RGBA", "PNG"),
    "RGBA, WebP": lambda: saved(np.dstack([BLACK, BLACK, BLACK, ALPHA]), "WEBP", lossless=True),
    "LA": lambda: in_mode("LA", "PNG"),
    "RGBa": lambda: tiff(np.dstack([BLACK, BLACK, BLACK, ALPHA]), photometric="rgb", extrasamples=["assocalpha"]),
    "palette, a colour": lambda: with_palette(0),
    "palette, by colour": lambda: with_palette(bytes([0, 255])),
    "grey, a colour": lambda: saved(255 - ALPHA, "PNG", transparency=255),
    "one bit, a colour": lambda: saved(ALPHA == 0, "PNG", transparency=1),
    "RGB, a colour": lambda: saved(np.dstack([255 - ALPHA, BLACK, BLACK]), "PNG", transparency=(255, 0, 0)),
    "GIF": lambda: saved(255 - ALPHA, "GIF", transparency=255),
    "16 bits RGBA": lambda: png(np.dstack([BLACK, BLACK, BLACK, ALPHA]).astype(np.uint16) * 257),
    "16 bits LA": lambda: png(np.dstack([BLACK, ALPHA]).astype(np.uint16) * 257),
    "16 bits, a colour": lambda: png((255 - ALPHA).astype(np.uint16) * 200, [51000]),
    "16 bits RGB, a colour": lambda: png(np.dstack([(255 - ALPHA).astype(np.uint16), BLACK, BLACK]), [255, 0, 0]),
    "16 bits TIFF": lambda: tiff(
        np.dstack([BLACK, BLACK, BLACK, ALPHA]).astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"]
    ),
    "16 bits TIFF, multiplied": lambda: tiff(
        np.dstack([BLACK, BLACK, BLACK, ALPHA]).astype(np.uint16) * 257, photometric="rgb", extrasamples=["assocalpha"]
    ),
}


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (9, 200, 30)])
@pytest.mark.parametrize("name", SQUARES)
def test_a_transparent_picture_lies_on_the_background(name: str, background: tuple[int, int, int]) -> None:
    expected = np.where(ALPHA[..., None] > 0, 0, background)
    assert np.array_equal(decoded(SQUARES[name](), background=background), expected)


def test_a_half_transparent_pixel_is_half_background() -> None:
    data = saved(np.full((1, 1, 4), [100, 200, 0, 128], np.uint8), "PNG")
    assert decoded(data)[0, 0].tolist() == [round((c * 128 + 255 * 127) / 255) for c in (100, 200, 0)]
    multiplied = np.array([[[0x3000, 0x1000, 0, 0x8000]]], np.uint16)
    found = decoded(tiff(multiplied, photometric="rgb", extrasamples=["assocalpha"]))
    expected = [round((0x7FFF + c) / 65535 * 255) for c in (0x3000, 0x1000, 0)]
    assert np.abs(found[0, 0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("layout", ["pixels", "planes", "pages"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bands_are_chosen_by_number(layout: str, dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (6, 7, 9), endpoint=True).astype(dtype)
    data = {
        "pixels": lambda: tiff(values.transpose(1, 2, 0), photometric="minisblack", planarconfig="contig"),
        "planes": lambda: tiff(values, photometric="minisblack", planarconfig="separate"),
        "pages": lambda: tiff(values, photometric="minisblack"),
    }[layout]()
    expected = np.rint(values[[5, 0, 2]].transpose(1, 2, 0) / np.iinfo(dtype).max * 255)
    assert np.array_equal(decoded(data, bands=(6, 1, 3)), expected)
    assert np.array_equal(decoded(data, bands=(6,)), np.dstack([expected[..., 0]] * 3))
    with pytest.raises(ValueError, match="has 6 bands; band 7 is asked for"):
        decoded(data, bands=(1, 2, 7))
    if layout != "pages":
        with pytest.raises(ValueError, match="has 6 bands, none of them a colour; choose by --bands, as in 4,3,2"):
            decoded(data)


def test_bands_of_a_plain_picture() -> None:
    assert np.array_equal(decoded(saved(COLOUR, "PNG"), bands=(3, 2, 1)), COLOUR[..., ::-1])
    assert np.array_equal(decoded(in_mode("RGBA", "PNG"), bands=(4,)), np.dstack([ALPHA] * 3))
    found = decoded(tiff(np.dstack([DEEP, DEEP[..., :1]]), photometric="rgb", extrasamples=["unspecified"]))
    assert np.array_equal(found, COLOUR)  # red, green and blue beside another band are the picture


@pytest.mark.parametrize("bands", [None, (1,), (3, 2, 1)])
@pytest.mark.parametrize("shape", [(7, 9), (3, 7, 9)])
@pytest.mark.parametrize("dtype", ["bool", "u1", "i1", "u2", "i2", "u4", "f4", "f8"])
def test_where_zero_is_white_the_picture_is_the_negative(
    dtype: str, shape: tuple[int, ...], bands: tuple[int, ...] | None
) -> None:
    values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    if shape == (7, 9) and bands is not None:
        bands = (1,) * len(bands)
    white, black = (decoded(tiff(values, photometric=f"mini{end}"), bands=bands) for end in ("swhite", "sblack"))
    assert np.array_equal(white, 255 - black)


def test_without_tifffile_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    for data in (tiff_of_rgb := TWINS["TIFF colour"]()[0], TWINS["float of 64 bits"]()[0]):
        with pytest.raises(UsageError, match=r"tifffile is not installed; pip install 'icecore\[tiff\]'"):
            decode_image(data)
    assert decode_image(tiff_of_rgb, None).size == (9, 7)  # as without rules, so without the library
    assert np.array_equal(decoded(TWINS["TIFF grey"]()[0])[..., 0], GREY)


def test_colour_spaces_are_what_pillow_and_littlecms_make_of_them() -> None:
    flat = Image.new("LAB", (4, 4), (138, 128, 128))  # a neutral grey
    file = io.BytesIO()
    flat.save(file, "TIFF")
    red, green, blue = decoded(file.getvalue())[0, 0].astype(int)
    assert max(abs(red - green), abs(green - blue)) <= 2
    for kind, mode in (("JPEG", "CMYK"), ("TIFF", "CMYK"), ("JPEG", "YCbCr"), ("TIFF", "YCbCr")):
        file = io.BytesIO()
        Image.fromarray(COLOUR).convert(mode).save(file, kind)
        assert np.array_equal(decoded(file.getvalue()), np.asarray(Image.open(file).convert("RGB")))


def test_rules_of_a_later_version_are_refused() -> None:
    assert recorded_decoding({}) is None
    assert recorded_decoding({"decoding": Decoding().model_dump(mode="json")}) == Decoding()
    with pytest.raises(IdentityError, match="not known to this version"):
        recorded_decoding({"decoding": {"orientation": "by its looks"}})
