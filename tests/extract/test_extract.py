"""The stage as a whole: what is in the store is what the live backbone says, whatever happened on the way."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from icecore.extract import ExtractSettings, Progress, extract, load_backbone, open_source
from icecore.extract.extract import ExtractInterruptedError
from icecore.extract.settings import command_line
from icecore.store import IcecoreError, IdentityError, Store, UsageError, open_store, verify

from .conftest import BACKBONE, image_bytes

NUM_ROWS = 23


def tokens_of(store: Store) -> dict[int, Tensor]:
    rows = [row for row in range(store.num_rows) if row not in store.failed]
    return {layer: store.layer(layer).rows(torch.tensor(rows).numpy()) for layer in store.layers}


def same(first: Store, second: Store) -> bool:
    ours, theirs = tokens_of(first), tokens_of(second)
    return first.failed == second.failed and all(torch.equal(ours[layer], theirs[layer]) for layer in ours)


def test_the_store_holds_what_the_live_backbone_says(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    report = extract(source, str(tmp_path / "s.ice"), settings)
    store = open_store(str(tmp_path / "s.ice"))
    opened = open_source(source)
    backbone = load_backbone(BACKBONE, settings.checkpoint, "cpu", "float32")
    images = torch.stack([backbone.transform(opened.decode(opened.read(row))) for row in range(NUM_ROWS)])
    for layer, tokens in tokens_of(store).items():
        torch.testing.assert_close(tokens, backbone.forward(images, [layer])[layer], rtol=1e-5, atol=1e-5)
    assert store.layers == tuple(range(7))
    assert store.splits == {"train": 17, "test": 6}
    assert store.samples["key"].to_pylist() == [sample.key for sample in opened.samples]
    assert (report.num_rows, report.num_failed, report.num_skipped) == (NUM_ROWS, 0, 0)
    assert verify(str(tmp_path / "s.ice")) == []


@pytest.mark.parametrize("dtype", ["int8", "int4", "float16", "bfloat16"])
def test_every_stored_type_holds_every_row(dtype: str, source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    extract(source, str(tmp_path / "exact.ice"), settings)
    extract(source, str(tmp_path / "s.ice"), settings.model_copy(update={"dtype": dtype}))
    exact, stored = (tokens_of(open_store(str(tmp_path / name))) for name in ("exact.ice", "s.ice"))
    for layer in exact:
        assert (stored[layer] - exact[layer]).norm() < 0.15 * exact[layer].norm()


@pytest.mark.parametrize("num_threads", [1, 5])
def test_the_number_of_threads_changes_nothing(
    num_threads: int, source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    extract(source, str(tmp_path / "a.ice"), settings)
    extract(source, str(tmp_path / "b.ice"), settings.model_copy(update={"num_threads": num_threads}))
    assert same(open_store(str(tmp_path / "a.ice")), open_store(str(tmp_path / "b.ice")))


@pytest.mark.parametrize(("tokens", "num_tokens"), [("cls", 1), ("pool:3", 1 + 4 * 4)])
def test_fewer_tokens_and_layers(
    tokens: str, num_tokens: int, source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    extract(source, str(tmp_path / "s.ice"), settings.model_copy(update={"tokens": tokens, "layers": "0,2-3"}))
    store = open_store(str(tmp_path / "s.ice"))
    assert store.layers == (0, 2, 3)
    assert store.layer(3).rows(slice(0, 4)).shape == (4, num_tokens, 64)
    assert store.layer(3).spec.num_tokens == num_tokens


def test_layers_that_are_asked_for_later_are_added(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    extract(source, str(tmp_path / "all.ice"), settings)
    for layers in ("5", "0-2", "all"):
        extract(source, str(tmp_path / "s.ice"), settings.model_copy(update={"layers": layers}))
    assert same(open_store(str(tmp_path / "s.ice")), open_store(str(tmp_path / "all.ice")))


def damage(source: str) -> list[str]:
    """Spoil four images among the good ones; return their keys."""
    root = Path(source.partition(":")[2])
    keys = [sample.key for sample in open_source(source).samples]
    spoilt = [keys[0], keys[7], keys[8], keys[20]]
    (root / spoilt[0]).write_bytes(b"")
    (root / spoilt[1]).write_bytes(image_bytes(0)[:200])
    (root / spoilt[2]).write_bytes(b"<html>404</html>")
    (root / spoilt[3]).write_bytes(image_bytes(0, "PNG")[:-700])
    return spoilt


def test_images_that_cannot_be_decoded_are_recorded_and_skipped(
    source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    extract(source, str(tmp_path / "good.ice"), settings)
    spoilt = damage(source)
    seen: list[Progress] = []
    report = extract(source, str(tmp_path / "s.ice"), settings, seen.append)
    store, good = open_store(str(tmp_path / "s.ice")), open_store(str(tmp_path / "good.ice"))
    keys = store.samples["key"].to_pylist()
    assert [keys[row] for row in store.failed] == spoilt
    assert report.num_failed == seen[-1].num_failed == 4
    assert sum(store.splits.values()) == NUM_ROWS - 4
    assert "no known image format in 0 bytes" in store.failed[0]
    assert "no known image format in 16 bytes" in store.failed[8]
    assert "truncated" in store.failed[7].lower()
    for row in set(range(NUM_ROWS)) - set(store.failed):
        torch.testing.assert_close(store.layer(6).rows(slice(row, row + 1)), good.layer(6).rows(slice(row, row + 1)))
    assert store.samples["width"].to_pylist()[0] is None


def test_strict_stops_at_the_first(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    spoilt = damage(source)
    with pytest.raises(IcecoreError, match=f"'{spoilt[0]}': ValueError: no known image format in 0 bytes; mend or"):
        extract(source, str(tmp_path / "s.ice"), settings.model_copy(update={"strict": True}))


def test_a_decompression_bomb_is_a_failed_row(
    source: str, settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 26 * 34 - 1)  # the largest image; an error only from twice that on
    extract(source, str(tmp_path / "s.ice"), settings)
    failed = open_store(str(tmp_path / "s.ice")).failed
    assert failed
    assert all("DecompressionBomb" in cause for cause in failed.values())


def test_a_listed_file_that_is_not_there_is_a_failed_row(settings: ExtractSettings, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(image_bytes(0, "PNG"))
    (tmp_path / "list.csv").write_text("path,label,split\na.png,x,train\nb.png,x,test\n")
    extract(f"csv:{tmp_path / 'list.csv'}", str(tmp_path / "s.ice"), settings)
    failed = open_store(str(tmp_path / "s.ice")).failed
    assert list(failed) == [0]  # test comes before train
    assert failed[0].startswith("FileNotFoundError")


class BrokenAfter:
    """A progress callback that raises once some rows are done."""

    def __init__(self, num_rows: int, error: BaseException) -> None:
        self.num_rows, self.error = num_rows, error

    def __call__(self, progress: Progress) -> None:
        if progress.num_done >= self.num_rows:
            raise self.error


@pytest.mark.parametrize("num_rows", [5, 8, 13, 23])
def test_resuming_after_an_error_gives_the_uninterrupted_store(
    num_rows: int, source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    damage(source)
    extract(source, str(tmp_path / "whole.ice"), settings)
    with pytest.raises(RuntimeError, match="power cut"):
        extract(source, str(tmp_path / "s.ice"), settings, BrokenAfter(num_rows, RuntimeError("power cut")))
    report = extract(source, str(tmp_path / "s.ice"), settings)
    assert report.num_skipped == (num_rows - 1) // 8 * 8
    assert same(open_store(str(tmp_path / "s.ice")), open_store(str(tmp_path / "whole.ice")))
    assert extract(source, str(tmp_path / "s.ice"), settings).num_skipped == NUM_ROWS


def test_ctrl_c_says_how_to_go_on(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    store = str(tmp_path / "s.ice")
    with pytest.raises(ExtractInterruptedError, match=r"interrupted; finished .* go on with: icecore extract .*s\.ice"):
        extract(source, store, settings, BrokenAfter(10, KeyboardInterrupt()))
    assert open_store(store).num_missing == NUM_ROWS - 8


def test_another_backbone_is_refused_with_what_differs(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    extract(source, str(tmp_path / "s.ice"), settings)
    with pytest.raises(IdentityError, match="compute_dtype: float32 in the store, bfloat16 asked for"):
        extract(source, str(tmp_path / "s.ice"), settings.model_copy(update={"compute_dtype": "bfloat16"}))


def test_progress_counts_to_the_end(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    seen: list[Progress] = []
    extract(source, str(tmp_path / "s.ice"), settings, seen.append)
    assert [progress.num_done for progress in seen] == [5, 8, 13, 16, 21, 23]  # batches end where shards end
    assert seen[-1].seconds_left == 0
    assert seen[-1].rows_per_second > 0
    tokens_bytes = NUM_ROWS * 7 * 101 * 64 * 4
    assert tokens_bytes <= seen[-1].num_bytes < 1.6 * tokens_bytes


def test_wrong_settings_are_one_clear_line(source: str, settings: ExtractSettings, tmp_path: Path) -> None:
    for change, message in (
        ({"layers": "7"}, "there is no layer 7; the backbone has layers 0 to 6"),
        ({"tokens": "some"}, "tokens 'some': unknown"),
        ({"dtype": "int9"}, "unknown dtype 'int9'"),
        ({"backbone": "vit_huge"}, "unknown backbone 'vit_huge'"),
    ):
        with pytest.raises(UsageError, match=message):
            extract(source, str(tmp_path / "s.ice"), settings.model_copy(update=change))
    assert not (tmp_path / "s.ice").exists()


def test_the_command_says_what_differs_from_the_defaults() -> None:
    settings = ExtractSettings(backbone="vit", layers="0,3", strict=True, batch_size=8)
    expected = "icecore extract 'folder:my images' s.ice --backbone vit --layers 0,3 --batch-size 8 --strict"
    assert command_line("folder:my images", "s.ice", settings) == expected


SCRIPT = """
import sys
from icecore.extract import ExtractSettings, extract
extract(sys.argv[1], sys.argv[2], ExtractSettings.model_validate_json(sys.argv[3]))
"""


def killed_when(ready: Callable[[], bool], process: subprocess.Popen) -> bool:
    """Kill a process as soon as `ready`; return whether it was still running."""
    while not ready() and process.poll() is None:
        time.sleep(0.002)
    running = process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return running


@pytest.fixture
def start(source: str, settings: ExtractSettings) -> Iterator[Callable[[Path], subprocess.Popen]]:
    processes: list[subprocess.Popen] = []

    def start(store: Path) -> subprocess.Popen:
        arguments = [sys.executable, "-c", SCRIPT, source, str(store), settings.model_dump_json()]
        processes.append(subprocess.Popen(arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_killed_process_started_again_gives_the_uninterrupted_store(
    start: Callable[[Path], subprocess.Popen], source: str, settings: ExtractSettings, tmp_path: Path
) -> None:
    store = tmp_path / "s.ice"
    extract(source, str(tmp_path / "whole.ice"), settings)
    for num_shards in (1, 2):
        killed_when(lambda: len(list((store / "ledger").glob("*.json"))) >= num_shards, start(store))  # noqa: B023
        assert len(list((store / "ledger").glob("*.json"))) >= num_shards
    assert start(store).wait() == 0
    assert verify(str(store)) == []
    assert same(open_store(str(store)), open_store(str(tmp_path / "whole.ice")))
