"""Running rows again tells rounding from another image, and results do not depend on how rows were batched."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from icecore.extract import ExtractSettings, extract, recompute
from icecore.extract.rows.reading import ChangedError
from icecore.extract.settings import command_line, parse_command
from icecore.store import UsageError, open_store

from .conftest import image_bytes


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("bfloat16", 5e-3), ("int8", 2e-2), ("int4", 0.19)])
def test_what_is_stored_is_what_is_live(
    dtype: str, most: float, source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    extract(source, str(tmp_path / "s.ice"), settings.model_copy(update={"dtype": dtype, "layers": "0,6"}))
    found = recompute(str(tmp_path / "s.ice"), 9)
    assert [one.layer for one in found] == [0, 6]
    assert all(one.ok and one.relative <= most for one in found)


def test_other_images_are_noticed(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    url = str(tmp_path / "s.ice")
    extract(source, url, settings)
    path = tmp_path / "images" / "train" / "bee" / "001.jpg"
    for other in (image_bytes(99), b""):
        path.write_bytes(other)
        with pytest.raises(ChangedError, match=r"'train/bee/001.jpg': has changed since .*; restore the image, or run"):
            recompute(url, 23)
    shutil.rmtree(path.parent)
    with pytest.raises(UsageError, match=r"lacks 'train/bee/.*, which is in the store; run where its images are"):
        recompute(url, 23)


def test_the_same_batch_size_gives_the_same_bits(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    for name, num_threads in (("a.ice", 1), ("b.ice", 3)):
        extract(source, str(tmp_path / name), settings.model_copy(update={"num_threads": num_threads}))
    first, second = (open_store(str(tmp_path / name)) for name in ("a.ice", "b.ice"))
    assert all(torch.equal(first.layer(k).rows(slice(None)), second.layer(k).rows(slice(None))) for k in first.layers)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 23])
def test_another_batch_size_differs_by_rounding_alone(
    batch_size: int, source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    extract(source, str(tmp_path / "a.ice"), settings)
    extract(source, str(tmp_path / "b.ice"), settings.model_copy(update={"batch_size": batch_size}))
    first, second = (open_store(str(tmp_path / name)) for name in ("a.ice", "b.ice"))
    for layer in first.layers:
        ours, theirs = (store.layer(layer).rows(slice(None)) for store in (first, second))
        assert (ours - theirs).norm() <= 1e-5 * ours.norm()  # the bound that extract.recompute documents
        assert np.isfinite(ours.numpy()).all()


def test_the_command_says_the_settings() -> None:
    settings = ExtractSettings(
        backbone="vit",
        layers="0,3",
        strict=True,
        batch_size=8,
        label_column=("a", "b"),
        target="multilabel",
        split=("validation=train:10%",),
        views=2,
        augment='[{"RandAugment": {"num_ops": 1}}]',
    )
    assert parse_command(command_line("csv:my list.csv", "s.ice", settings)) == ("csv:my list.csv", settings)
