"""`--retry-failed`: rows that can be read now lose their failure, and no row that was good is ever given up for it."""

from pathlib import Path

import pytest
import torch

from icecore.extract import ExtractSettings, Progress, extract, open_source
from icecore.store import IdentityError, open_store, verify

from ..conftest import image_bytes, make_csv

NUM_ROWS = 23
SPOILT = (1, 9, 10)  # of three shards of eight rows, the first two


@pytest.fixture
def settings(settings: ExtractSettings) -> ExtractSettings:
    return settings.model_copy(update={"layers": "1", "tokens": "cls", "batch_size": 4})


def spoil(source: str) -> dict[Path, bytes]:
    """Overwrite some images with what is none; return what they were."""
    root, samples = Path(source.partition(":")[2]), open_source(source).samples
    good = {root / samples[row].key: (root / samples[row].key).read_bytes() for row in SPOILT}
    for number, path in enumerate(good):
        path.write_bytes(b"<html>404</html>" * (number + 1))
    return good


def retrying(settings: ExtractSettings) -> ExtractSettings:
    return settings.model_copy(update={"retry_failed": True})


def ledger(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store / "ledger").glob("*.json")}


@pytest.mark.parametrize("workers", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_mended_images_are_written_in_the_shards_that_they_are_in_and_no_others(
    workers: int | None, source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    store = tmp_path / "s.ice"
    extract(source, str(tmp_path / "whole.ice"), settings)
    good = spoil(source)
    report = extract(source, str(store), settings)
    assert report.failures == {"ValueError: no known image format in N bytes": 3}
    for path, data in good.items():
        path.write_bytes(data)
    assert extract(source, str(store), settings).num_failed == 3  # not without being asked
    before = ledger(store)
    report = extract(source, str(store), retrying(settings).model_copy(update={"workers": workers}))
    assert (report.num_failed, report.num_retried, report.num_mended, report.num_skipped) == (0, 3, 3, NUM_ROWS - 16)
    assert [name for name, data in ledger(store).items() if data == before[name]] == ["000002.json"]
    stored, whole = open_store(str(store)), open_store(str(tmp_path / "whole.ice"))
    assert stored.identity == whole.identity
    assert torch.equal(stored.layer(1).rows(slice(None)), whole.layer(1).rows(slice(None)))
    assert verify(str(store)) == []
    assert "--retry-failed" not in stored.spec.command


def test_what_still_cannot_be_decoded_keeps_its_cause_and_costs_nothing(
    source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    store, good = tmp_path / "s.ice", spoil(source)
    extract(source, str(store), settings)
    before = ledger(store)
    report = extract(source, str(store), retrying(settings))
    assert (report.num_failed, report.num_retried, report.num_mended) == (3, 3, 0)
    assert ledger(store) == before
    path, data = next(iter(good.items()))
    path.write_bytes(data)
    report = extract(source, str(store), retrying(settings))
    assert (report.num_failed, report.num_mended) == (2, 1)
    assert list(open_store(str(store)).failed) == [9, 10]


def test_a_shard_stands_as_it_is_until_it_is_written_anew(
    source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    store, good = tmp_path / "s.ice", spoil(source)
    extract(source, str(store), settings)
    rows = open_store(str(store)).rows("train")
    tokens = open_store(str(store)).layer(1).rows(rows)
    for path, data in good.items():
        path.write_bytes(data)

    def stop(progress: Progress) -> None:
        if progress.num_done > NUM_ROWS - 8:  # in the second of the two shards
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        extract(source, str(store), retrying(settings), stop)
    stopped = open_store(str(store))
    assert stopped.num_missing == 0
    assert list(stopped.failed) == [9, 10]
    assert torch.equal(stopped.layer(1).rows(rows), tokens)
    assert verify(str(store)) == []
    assert extract(source, str(store), retrying(settings)).num_failed == 0


def test_the_bytes_of_a_row_with_tokens_may_not_change(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    store = str(tmp_path / "s.ice")
    spoil(source)
    extract(source, store, settings)
    key = open_source(source).samples[0].key
    (tmp_path / "images" / key).write_bytes(image_bytes(99))
    with pytest.raises(IdentityError, match=f"1 of its 23 rows changed, first '{key}' sha256"):
        extract(source, store, retrying(settings))


def test_a_listed_file_that_comes_later_is_read(settings: ExtractSettings, tmp_path: Path) -> None:
    source, store = make_csv(tmp_path / "data"), str(tmp_path / "s.ice")
    path = tmp_path / "data" / open_source(source).samples[3].key
    data = path.read_bytes()
    path.unlink()
    assert extract(source, store, settings).num_failed == 1
    path.write_bytes(data)
    assert extract(source, store, retrying(settings)).num_failed == 0
    assert verify(store) == []
