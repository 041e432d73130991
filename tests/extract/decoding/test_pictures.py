"""Pictures in a store: by rules that it records, that a user chooses, and that whoever reads its images goes by."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from timm.data.transforms_factory import create_transform

from icecore.extract import ExtractReport, ExtractSettings, extract, load_backbone, recompute
from icecore.extract.decoding.rules import Decoding, recorded_decoding
from icecore.extract.settings import command_line, parse_command
from icecore.store import IdentityError, Store, UsageError, open_store

from ..conftest import BACKBONE
from .test_decoding_rules import GREY, png, saved, tiff

GOLDEN = Path(__file__).parents[1] / "golden"
RULES = Decoding(range={"int": (0, 65535)})


@pytest.fixture
def settings(checkpoint: str) -> ExtractSettings:
    return ExtractSettings(
        backbone=BACKBONE, checkpoint=checkpoint, compute_dtype="float32", dtype="float32", layers="0", device="cpu"
    )


def images(root: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return f"folder:{root}"


def tokens(store: Store) -> torch.Tensor:
    return store.layer(0).rows(slice(None))


def noted(report: ExtractReport) -> dict[str, int]:
    return {one.what: one.count for one in report.source.noted}


def test_deep_images_have_the_tokens_of_their_twins(settings: ExtractSettings, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dark = [rng.integers(20, 60, (31, 27), dtype=np.uint8) for _ in range(3)]
    bright = [rng.integers(120, 200, (31, 27), dtype=np.uint8) for _ in range(3)]
    named = {f"{kind}/{i}.{{}}": x for kind, some in (("dark", dark), ("bright", bright)) for i, x in enumerate(some)}
    plain = images(tmp_path / "8", {name.format("png"): saved(x, "PNG") for name, x in named.items()})
    deep = images(tmp_path / "16", {name.format("png"): png(x.astype(np.uint16) * 257) for name, x in named.items()})
    few = images(
        tmp_path / "12",
        {name.format("tif"): saved(np.rint(x / 255 * 4095).astype(np.uint16), "TIFF") for name, x in named.items()},
    )
    stores = {}
    for source in (plain, deep, few):
        extract(source, f"{tmp_path}/{len(stores)}.ice", settings)
        stores[source] = open_store(f"{tmp_path}/{len(stores)}.ice")
    assert torch.equal(tokens(stores[deep]), tokens(stores[plain]))
    step = 1 / 255 / 0.22  # a level, normalised
    assert (tokens(stores[few]) - tokens(stores[plain])).abs().max() < step * 768 * 0.1
    ranges = [recorded_decoding(store.identity.preprocessing) for store in stores.values()]
    assert [one and one.range for one in ranges] == [{}, {"int": (0, 65535)}, {"int": (0, 4095)}]
    assert all(one.relative < 1e-5 for one in recompute(stores[few].url, 6))


def test_a_range_holds_for_rows_that_come_later(settings: ExtractSettings, tmp_path: Path) -> None:
    source = images(tmp_path / "i", {"a/0.png": png(np.full((8, 8), 4000, np.uint16))})
    extract(source, f"{tmp_path}/s.ice", settings)
    images(tmp_path / "i", {"a/1.png": png(np.full((8, 8), 9000, np.uint16))})
    report = extract(source, f"{tmp_path}/s.ice", settings)
    store = open_store(f"{tmp_path}/s.ice")
    assert store.num_rows == 2
    assert recorded_decoding(store.identity.preprocessing) == Decoding(range={"int": (0, 4095)})
    assert noted(report)["images with values beyond the range: these become its ends"] == 1
    with pytest.raises(
        IdentityError, match=r"preprocessing.decoding.range.int: \[0.0, 4095.0\] in the store, \[0.0, 9"
    ):
        extract(source, f"{tmp_path}/s.ice", settings.model_copy(update={"range": (0.0, 9000.0)}))


def test_what_is_worth_knowing_of_images_is_counted(settings: ExtractSettings, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    files = {
        "a/0.jpg": saved(GREY, "JPEG", exif=exif),
        "a/1.png": saved(np.dstack([GREY] * 4), "PNG"),
        "a/2.png": png(GREY.astype(np.uint16) * 257),
        "a/3.gif": saved(GREY, "GIF", save_all=True, append_images=frames[1:]),
        "a/4.png": saved(GREY, "PNG", save_all=True, append_images=frames[1:]),
        "a/5.webp": saved(GREY, "WEBP", save_all=True, append_images=frames[1:]),
        "a/6.tif": saved(GREY, "TIFF", save_all=True, append_images=frames[1:]),
        "a/7.png": saved(np.zeros((1, 20_000), np.uint8), "PNG"),
        "a/8.png": saved(np.zeros((11, 100), np.uint8), "PNG"),
        "a/9.png": saved(GREY, "PNG"),
    }
    source = images(tmp_path / "i", files)
    expected = {
        "images of several frames or pages: the first is taken": 4,
        "images so long that the crop keeps less than a tenth of them": 2,
        "images of more than 8 bits a channel: 0 to 65535 of int become 0 to 255": 1,
        "images turned by their EXIF: set upright": 1,
        "images with transparency: laid on black": 1,
    }
    report = extract(source, f"{tmp_path}/s.ice", settings.model_copy(update={"background": (0, 0, 0)}))
    assert expected.items() <= noted(report).items()
    kept = open_store(f"{tmp_path}/s.ice").spec.source_report
    assert kept is not None
    assert kept == report.source


def test_a_bad_float_image_is_a_failed_row(settings: ExtractSettings, tmp_path: Path) -> None:
    good = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    source = images(tmp_path / "i", {"a/0.tif": tiff(good), "a/1.tif": tiff(np.where(good > 0.9, np.nan, good))})
    extract(source, f"{tmp_path}/s.ice", settings)
    assert list(open_store(f"{tmp_path}/s.ice").failed.values()) == [
        "ValueError: 7 of 64 values are NaN or infinite; expected finite ones"
    ]


def test_bands_must_be_chosen_where_there_are_many(settings: ExtractSettings, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (9, 8, 5)).astype(np.uint16)
    data = tiff(values, photometric="minisblack", planarconfig="contig")
    source = images(tmp_path / "i", {"a/0.tif": data, "a/1.tif": data})
    with pytest.raises(UsageError, match=r"all images, first 'a/0.tif', have bands .*choose some: --bands 4,3,2"):
        extract(source, f"{tmp_path}/s.ice", settings)
    assert not (tmp_path / "s.ice").exists()
    chosen = settings.model_copy(update={"bands": (4, 3, 2)})
    extract(source, f"{tmp_path}/s.ice", chosen)
    twin = np.rint(values[..., [3, 2, 1]] / 4095 * 255).astype(np.uint8)
    extract(images(tmp_path / "j", {"a/0.png": saved(twin, "PNG")}), f"{tmp_path}/t.ice", settings)
    assert torch.equal(tokens(open_store(f"{tmp_path}/s.ice"))[:1], tokens(open_store(f"{tmp_path}/t.ice")))
    with pytest.raises(IdentityError, match=r"preprocessing.decoding.bands: \[4, 3, 2\] in the store, \[4\] asked for"):
        extract(source, f"{tmp_path}/s.ice", settings.model_copy(update={"bands": (4,)}))


def test_a_library_that_is_missing_stops_before_anything_is_written(
    settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = images(tmp_path / "i", {"a/0.tif": tiff(np.zeros((8, 8, 3), np.uint16), photometric="rgb")})
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(UsageError, match=r"pip install 'icecore\[tiff\]'"):
        extract(source, f"{tmp_path}/s.ice", settings)
    assert not (tmp_path / "s.ice").exists()


def test_a_store_of_a_version_without_rules_stays_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("images", "store"):
        shutil.copytree(GOLDEN / f"without_rules.{kind}", tmp_path / kind)
    monkeypatch.chdir(tmp_path)  # of its source the store has a relative path
    before = open_store("store").layer(3).rows(slice(None))
    old = ExtractSettings(
        backbone="icecore_nano", layers="3", tokens="cls", dtype="float32", compute_dtype="float32", device="cpu"
    )
    report = extract("folder:images", "store", old)
    assert (report.num_rows, report.num_skipped) == (4, 4)
    assert noted(report)["images turned by their EXIF: left as stored"] == 1
    assert all(one.relative < 1e-5 for one in recompute("store", 4))
    images(tmp_path / "images", {"train/a/zz.png": (tmp_path / "images/train/a/alpha.png").read_bytes()})
    extract("folder:images", "store", old)  # grows, and decodes the new row as it did the others
    grown = open_store("store")
    assert recorded_decoding(grown.identity.preprocessing) is None
    assert grown.samples["key"].to_pylist()[1:2] == ["train/a/alpha.png"]
    tokens = grown.layer(3).rows(slice(None))
    torch.testing.assert_close(tokens[:4], before)
    torch.testing.assert_close(tokens[4], before[1], rtol=1e-5, atol=1e-5)
    for asked in ({"background": (255, 255, 255)}, {"range": "type"}, {"bands": (1, 2, 3)}):
        with pytest.raises(IdentityError, match=r"preprocessing.decoding: None in the store, \{'orientation'"):
            extract("folder:images", "store", old.model_copy(update=asked))
    extract("folder:images", "new", old)
    assert not torch.allclose(open_store("new").layer(3).rows(slice(None))[1], before[1], atol=0.1)


@pytest.mark.parametrize(("height", "width"), [(3, 100), (100, 3), (1, 77), (77, 2)])
def test_of_a_slender_image_the_middle_is_what_timm_makes_of_it(checkpoint: str, height: int, width: int) -> None:
    transform = load_backbone(BACKBONE, checkpoint, "cpu", "float32").transform
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    config = {name: value for name, value in transform.config.items() if name != "decoding"}
    expected: Any = create_transform(**config, is_training=False, normalize=False)(image)  # type: ignore[arg-type]
    found = transform.pixels(image)
    assert found.shape == expected.shape
    assert (found.int() - expected.int()).abs().float().mean() < 2  # of 255: the borders have no neighbours outside


def test_of_a_slender_image_nothing_is_resized_that_is_cut_away(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = load_backbone(BACKBONE, checkpoint, "cpu", "float32").transform
    resize, sizes = Image.Image.resize, []

    def recorded(self: Image.Image, size: tuple[int, int], *arguments: object, **options: object) -> Image.Image:
        sizes.append(size)
        return resize(self, size, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", recorded)
    assert transform.pixels(Image.new("RGB", (20_000, 1))).shape == (3, 160, 160)
    assert sizes == [(160, 160)]  # all of it would be 3.7 million pixels long
    assert transform.share_kept(20_000, 1) < 1e-4
    assert transform.share_kept(300, 300) > 0.7


def test_rules_are_said_by_the_command_and_read_from_it() -> None:
    settings = ExtractSettings(backbone="vit", range=(-1.0, 0.5), background=(0, 10, 255), bands=(4, 3, 2))
    assert parse_command(command_line("folder:a", "s.ice", settings)) == ("folder:a", settings)
    for given, read in (("white", (255, 255, 255)), ("black", (0, 0, 0)), ("1,2,3", (1, 2, 3)), ([9, 8, 7], (9, 8, 7))):
        assert ExtractSettings.model_validate({"backbone": "vit", "background": given}).background == read
    assert ExtractSettings.model_validate({"backbone": "vit", "bands": 4}).bands == (4,)
    for word in ("auto", "type"):
        assert ExtractSettings.model_validate({"backbone": "vit", "range": (word,)}).range == word
    assert ExtractSettings.model_validate({"backbone": "vit", "range": "0,4095"}).range == (0, 4095)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"range": "5,5"}, "expected auto, type, or two numbers LOW,HIGH"),
        ({"range": "0,nan"}, "expected auto, type, or two numbers LOW,HIGH"),
        ({"range": "full"}, "expected auto, type, or two numbers LOW,HIGH"),
        ({"background": "grey"}, "expected white, black, or three numbers R,G,B from 0 to 255"),
        ({"background": "0,0,256"}, "expected white, black, or three numbers R,G,B from 0 to 255"),
        ({"bands": "0,1,2"}, "expected one or three numbers of bands, counted from 1"),
        ({"bands": "1,2"}, "expected one or three numbers of bands, counted from 1"),
        ({"bands": ""}, "expected one or three numbers of bands, counted from 1"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExtractSettings.model_validate({"backbone": "vit", **given})
