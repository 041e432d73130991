"""Views: the plain one first, the others seeded by key and number alone, and growing into them."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from icecore.extract import ExtractSettings, Progress, extract
from icecore.extract.decoding.augmentation import Augmentation, canonical_augmentation
from icecore.store import IdentityError, Store, UsageError, open_store, verify

FLIP = '[{"RandomHorizontalFlip": {"p": 1.0}}]'


@pytest.fixture
def settings(settings: ExtractSettings) -> ExtractSettings:
    return settings.model_copy(update={"layers": "0,3", "views": 3, "augment": "rand"})


def views(store: Store, layer: int = 3) -> list[torch.Tensor]:
    return [store.layer(layer).rows(slice(None), view) for view in range(store.identity.views)]


def test_view_0_is_the_plain_image_and_the_others_differ(
    source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    extract(source, str(tmp_path / "plain.ice"), settings.model_copy(update={"views": 1, "augment": None}))
    seen: list[Progress] = []
    extract(source, str(tmp_path / "s.ice"), settings, seen.append)
    store = open_store(str(tmp_path / "s.ice"))
    plain, first, second = views(store)
    assert torch.equal(plain, views(open_store(str(tmp_path / "plain.ice")))[0])
    for row in range(23):
        assert not torch.equal(plain[row], first[row])
        assert not torch.equal(first[row], second[row])
    assert json.loads(store.identity.augmentation or "")[0].keys() == {"RandomResizedCrop"}
    assert (seen[-1].num_done, seen[-1].seconds_left) == (23, 0)
    assert verify(store.url) == []


def test_a_flipped_view_is_the_flipped_image(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    extract(source, str(tmp_path / "s.ice"), settings.model_copy(update={"augment": FLIP, "views": 2}))
    for path in (tmp_path / "images").rglob("*.jpg"):
        image = Image.open(path).convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image.save(path, "PNG")
    plain = settings.model_copy(update={"augment": None, "views": 1})
    extract(source, str(tmp_path / "flipped.ice"), plain)
    assert torch.equal(
        views(open_store(str(tmp_path / "s.ice")))[1], views(open_store(str(tmp_path / "flipped.ice")))[0]
    )


def test_views_depend_on_neither_batches_nor_threads(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    extract(source, str(tmp_path / "a.ice"), settings)
    extract(source, str(tmp_path / "b.ice"), settings.model_copy(update={"num_threads": 3, "batch_size": 7}))
    for ours, theirs in zip(*(views(open_store(str(tmp_path / name))) for name in ("a.ice", "b.ice")), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_store_grows_into_views_and_layers_without_doing_anything_twice(
    source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    url = tmp_path / "s.ice"
    extract(source, str(tmp_path / "whole.ice"), settings)
    plain = settings.model_copy(update={"views": 1, "augment": None, "layers": "0"})
    extract(source, str(url), plain)
    before = {path: path.stat().st_mtime_ns for path in url.rglob("layers/**/c/0/**/*") if path.is_file()}
    extract(source, str(url), settings.model_copy(update={"layers": "0"}))
    extract(source, str(url), plain.model_copy(update={"layers": "3"}))  # in the views that the store has
    assert before == {path: path.stat().st_mtime_ns for path in before}
    for layer in (0, 3):
        whole = views(open_store(str(tmp_path / "whole.ice")), layer)
        assert all(map(torch.equal, views(open_store(str(url)), layer), whole))


def test_another_augmentation_is_refused(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    extract(source, str(tmp_path / "s.ice"), settings.model_copy(update={"limit": 5}))
    with pytest.raises(IdentityError, match=r"augmentation: \[.*RandAugment.* in the store, \[.*Flip.* asked for"):
        extract(source, str(tmp_path / "s.ice"), settings.model_copy(update={"augment": FLIP, "limit": 5}))


def test_an_augmentation_from_threads_is_the_one_alone() -> None:
    augment = Augmentation("rand", (64, 64))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    asked = [(str(row), view) for row in range(40) for view in (1, 2)]
    before = torch.get_rng_state()
    alone = [augment(image, *each).tobytes() for each in asked]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda each: augment(image, *each).tobytes(), asked)) == alone
    assert len(set(alone)) > 70
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("random", "augment 'random': cannot be read; expected rand, or a list such as"),
        ("[]", r"augment '\[\]': cannot be read"),
        ("[3]", "augment: 3 is no transform with arguments; expected rand"),
        ('["RandAugmet"]', r"unknown transform 'RandAugmet' .did you mean 'RandAugment'"),
        ('[{"RandAugment": {"ops": 2}}]', r"augment: RandAugment cannot be made of \{'ops': 2\} .*unexpected keyword"),
        ('[{"RandomCrop": {"size": 4}}, "ToImage"]', r"gives \w+; expected transforms from image to image"),
        ('[{"RandAugment": {"interpolation": "cubic"}}]', "unknown interpolation 'cubic'"),
    ],
)
def test_a_wrong_augmentation_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Augmentation(text, (32, 32))


def test_spelling_is_no_difference() -> None:
    assert canonical_augmentation('["RandAugment"]') == canonical_augmentation('[ {"RandAugment" : {}}]')


@pytest.mark.parametrize("change", [{"views": 1}, {"augment": None}])
def test_views_and_augmentation_come_together(
    change: dict[str, object], source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="expected both or neither: view 0 is the plain image"):
        extract(source, str(tmp_path / "s.ice"), settings.model_copy(update=change))


def test_a_list_is_taken_as_its_json() -> None:
    assert ExtractSettings.model_validate({"backbone": "x", "augment": ["RandAugment"]}).augment == '["RandAugment"]'
