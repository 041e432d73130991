"""What fails for a passing reason is tried again, then stops the job; it is never recorded, and loses no row."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from icecore.extract import ExtractSettings, Progress, extract, open_source
from icecore.extract.files import passing
from icecore.extract.files.passing import DELAYS_SECONDS, AbsentError, PassingError, is_passing, persistently
from icecore.extract.rows.reading import ChangedError
from icecore.store import IcecoreError, open_store

from ..conftest import MAKERS, image_bytes, make_csv, make_folder

NUM_ROWS = 23
TRIES = len(DELAYS_SECONDS) + 1
PASSING = {
    "memory": MemoryError("Cannot allocate 3 GiB"),
    "device memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "tensor memory": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    "threads": RuntimeError("can't start new thread"),
    "disk": OSError(errno.EIO, "Input/output error"),
    "stale handle": OSError(errno.ESTALE, "Stale file handle"),
    "permission": PermissionError(errno.EACCES, "Permission denied"),
    "deleted": FileNotFoundError(errno.ENOENT, "No such file or directory"),
    "too many files": OSError(errno.EMFILE, "Too many open files"),
    "time out": TimeoutError("the server did not answer"),
    "connection": ConnectionResetError("Connection reset by peer"),
}
BAD_BYTES = (
    OSError("image file is truncated (12 bytes not processed)"),
    OSError("broken data stream when reading image file"),
    ValueError("no known image format in 0 bytes"),
    SyntaxError("broken PNG file"),
    RuntimeError("Failed to decode frame 0: Decoding of color planes failed"),
    IndexError("index out of range"),
)


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "DELAYS_SECONDS", (0.0,) * len(DELAYS_SECONDS))


@pytest.fixture
def settings(settings: ExtractSettings) -> ExtractSettings:
    return settings.model_copy(
        update={"dtype": "int8", "layers": "1", "tokens": "cls", "batch_size": 4, "limit": NUM_ROWS, "num_threads": 1}
    )


class Failing:
    """A method of a source, `read` or `decode`, that fails in its calls number `first` to `last`."""

    def __init__(self, method: Callable[..., Any], error: Exception, first: int, last: int = 10**6) -> None:
        self._method, self._error, self._calls, self._num_calls = method, error, range(first, last + 1), 0

    def __get__(self, source: object, _: type) -> Callable[..., Any]:
        return lambda *arguments: self(source, *arguments)

    def __call__(self, source: object, *arguments: object) -> Any:
        self._num_calls += 1
        if self._num_calls in self._calls:
            raise self._error
        return self._method(source, *arguments)


def fail(monkeypatch: pytest.MonkeyPatch, source: str, method: str, error: Exception, *calls: int) -> None:
    kind = type(open_source(source))
    monkeypatch.setattr(kind, method, Failing(getattr(kind, method), error, *calls))


@pytest.mark.parametrize("error", PASSING.values(), ids=PASSING)
def test_a_system_that_fails_is_told_from_bytes_that_are_wrong(error: Exception) -> None:
    assert is_passing(error)


@pytest.mark.parametrize("error", BAD_BYTES, ids=str)
def test_bytes_that_are_wrong_are_not_tried_again(error: Exception) -> None:
    assert not is_passing(error)


def test_an_action_is_tried_until_it_goes_well_and_no_longer() -> None:
    results: list[object] = [OSError(errno.EIO, "x"), MemoryError(), "done", "never asked for"]

    def act() -> object:
        if isinstance(result := results.pop(0), Exception):
            raise result
        return result

    assert persistently(act, "it", is_passing) == "done"
    assert results == ["never asked for"]


@pytest.mark.parametrize("kind", MAKERS)
def test_a_read_that_fails_for_a_while_costs_no_row_of_any_source(
    kind: str, settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MAKERS[kind](tmp_path / kind)
    extract(source, str(tmp_path / "whole.ice"), settings)
    fail(monkeypatch, source, "read", PASSING["disk"], NUM_ROWS - 1, NUM_ROWS - 3 + TRIES)  # while it is scanned
    fail(monkeypatch, source, "decode", PASSING["memory"], 3, 3)
    extract(source, str(tmp_path / "s.ice"), settings)
    stored, whole = open_store(str(tmp_path / "s.ice")), open_store(str(tmp_path / "whole.ice"))
    assert stored.failed == {}
    assert stored.identity == whole.identity
    assert torch.equal(stored.layer(1).rows(slice(None)), whole.layer(1).rows(slice(None)))


@pytest.mark.parametrize(
    ("method", "first", "why"),
    [("read", 5, "permission"), ("read", NUM_ROWS + 10, "deleted"), ("decode", 10, "memory"), ("decode", 4, "threads")],
)
def test_what_goes_on_failing_stops_the_job_and_is_not_recorded(
    method: str, first: int, why: str, settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, store = make_folder(tmp_path / "images", NUM_ROWS), str(tmp_path / "s.ice")
    message = rf"'t.*\.jpg': cannot be .* {TRIES} tries \({type(PASSING[why]).__name__}: .* go on with: icecore extract"
    with monkeypatch.context() as patched:
        fail(patched, source, method, PASSING[why], first)
        with pytest.raises(PassingError, match=message):
            extract(source, store, settings)
    report = extract(source, store, settings)
    assert open_store(store).failed == {}
    assert report.num_skipped == (8 if first >= 10 else 0)


def test_bytes_that_are_wrong_fail_their_row_alone(
    settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_folder(tmp_path / "images", NUM_ROWS)
    fail(monkeypatch, source, "decode", BAD_BYTES[0], 10, 10)
    assert extract(source, str(tmp_path / "s.ice"), settings).num_failed == 1
    assert open_store(str(tmp_path / "s.ice")).failed == {9: f"OSError: {BAD_BYTES[0]}"}


@pytest.mark.parametrize("kind", MAKERS)
def test_an_image_that_changes_after_the_scan_stops_the_job(
    kind: str, settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, store = MAKERS[kind](tmp_path / kind), str(tmp_path / "s.ice")
    opened = open_source(source)
    read, num_reads = type(opened).read, iter(range(10**6))
    other = read(opened, 0)[::-1]

    def read_what_has_changed(self: object, row: int) -> bytes:
        return other if next(num_reads) == NUM_ROWS + 9 else read(self, row)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patched:
        patched.setattr(type(opened), "read", read_what_has_changed)
        with pytest.raises(
            ChangedError, match=r"'.+': has changed since its data set was scanned .* or run the command"
        ):
            extract(source, store, settings)
    assert open_store(store).failed == {}
    assert extract(source, store, settings).num_skipped == 8


def test_an_image_that_is_overwritten_while_others_are_written_is_noticed(
    settings: ExtractSettings, tmp_path: Path
) -> None:
    source, store = make_folder(tmp_path / "images", NUM_ROWS), str(tmp_path / "s.ice")
    last = tmp_path / "images" / open_source(source).samples[-1].key

    def overwrite(_: Progress) -> None:
        last.write_bytes(image_bytes(99))

    with pytest.raises(ChangedError, match=last.name):
        extract(source, store, settings, overwrite)


def test_a_crop_larger_than_the_image_is_no_bad_image(settings: ExtractSettings, tmp_path: Path) -> None:
    source = make_folder(tmp_path / "images", NUM_ROWS)
    crop = ExtractSettings.model_validate(
        settings.model_dump() | {"views": 2, "augment": '[{"RandomCrop": {"size": [22, 22]}}]'}
    )
    with pytest.raises(
        IcecoreError, match=r"'test.*\.jpg', \d+ x \d+ pixels: is a good image .* \(ValueError: Required"
    ):
        extract(source, str(tmp_path / "s.ice"), crop)
    assert open_store(str(tmp_path / "s.ice")).failed == {}


def test_a_listed_file_is_absent_only_where_its_folder_is_there(settings: ExtractSettings, tmp_path: Path) -> None:
    source = make_csv(tmp_path / "data", NUM_ROWS)
    opened = open_source(source)
    (tmp_path / "data" / opened.samples[3].key).unlink()
    with pytest.raises(AbsentError, match="no such file"):
        opened.read(3)
    extract(source, str(tmp_path / "s.ice"), settings)
    assert list(open_store(str(tmp_path / "s.ice")).failed) == [3]
    (tmp_path / "data" / "images").rename(tmp_path / "unmounted")
    with pytest.raises(PassingError, match=r"cannot be read: still fails .* \(FileNotFoundError"):
        extract(source, str(tmp_path / "t.ice"), settings)
    assert not (tmp_path / "t.ice").exists()


def test_memory_that_the_forward_lacks_is_said_with_what_to_lower(
    settings: ExtractSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(*_: object) -> None:
        raise PASSING["device memory"]

    monkeypatch.setattr("icecore.extract.backbone.backbone.Backbone.forward", lack)
    with pytest.raises(
        PassingError, match=r"CUDA out of memory.*lower --batch-size or --num-threads; finished .* icecore"
    ):
        extract(make_folder(tmp_path / "images", NUM_ROWS), str(tmp_path / "s.ice"), settings)
