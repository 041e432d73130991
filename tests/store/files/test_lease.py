"""On an object store one writer writes: whoever is superseded stops before its next change, and never comes back."""

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from torch import Tensor

from icecore.store import LockedError, open_store, open_writer, verify
from icecore.store.files import lease, lock
from icecore.store.files.location import open_location
from icecore.store.files.lock import writing

from ..conftest import FROZEN, fill, make_samples, make_spec

NUMBER = itertools.count()
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


looked = threading.Event()  # a slow one has seen that nobody holds the store, and is about to put


class Plain(MemoryFileSystem):
    """Memory that puts whatever is there already; the puts of some threads wait for others."""

    protocol = "plain"
    slow: set[int] = set()  # noqa: RUF012
    others_have_put = threading.Event()

    def pipe_file(self, path, value):  # pyright: ignore[reportIncompatibleMethodOverride]
        if threading.get_ident() in self.slow:
            looked.set()
            self.others_have_put.wait(60)
        super().pipe_file(path, value)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    fsspec.register_implementation("plain", Plain, clobber=True)
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(lock, "STALE_SECONDS", 30.0)
    Plain.others_have_put.clear()
    looked.clear()
    yield f"plain://ice/{next(NUMBER)}/s.ice"
    Plain.slow.clear()


def _holder(url: str) -> dict:
    filesystem, root = fsspec.url_to_fs(url, use_listings_cache=False)
    return json.loads(filesystem.cat_file(f"{root}/lock"))


def test_whoever_a_slow_put_supersedes_writes_nothing_more(plain: str) -> None:
    """The slow one looked before the quick one put, and puts after it."""
    got: list[str] = []

    def slow() -> None:
        Plain.slow.add(threading.get_ident())
        with writing(open_location(plain)) as held:
            Plain.slow.clear()
            got.append(held.token)
            held.location.write("slow", b"")
            done.wait(60)

    done = threading.Event()
    second = threading.Thread(target=slow)
    second.start()
    assert looked.wait(60)
    with writing(open_location(plain)) as held:
        held.location.write("quick", b"")
        Plain.others_have_put.set()
        while not got:
            time.sleep(0.05)
        assert _holder(plain)["token"] == got[0]
        for change in (lambda: held.location.write("late", b""), lambda: held.location.delete("quick")):
            with pytest.raises(LockedError, match="another process may have begun to write it"):
                change()
        with pytest.raises(LockedError), held.location.create("late") as file:
            file.write(b"late")
        time.sleep(0.7)  # it does not renew
        assert _holder(plain)["token"] == got[0]
    assert _holder(plain)["token"] == got[0]  # and takes no lease of others away
    done.set()
    second.join()
    assert sorted(open_location(plain).sizes()) == ["quick", "slow"]


def test_a_slow_put_to_s3_is_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{s3}/{next(NUMBER)}/slow.ice"
    real, refused, held_by_other = lease.Lease._put, [], threading.Event()
    looked.clear()

    def put(self: lease.Lease, tag: str | None, is_new: bool) -> None:
        if threading.current_thread().name == "slow":
            looked.set()
            held_by_other.wait(60)
        real(self, tag, is_new)

    def slow() -> None:
        try:
            with writing(open_location(url)):
                pass
        except LockedError as error:
            refused.append(str(error))

    monkeypatch.setattr(lease.Lease, "_put", put)
    second = threading.Thread(target=slow, name="slow")
    second.start()
    assert looked.wait(60)
    with writing(open_location(url)) as held:
        held_by_other.set()
        second.join()
        assert len(refused) == 1
        assert f"process {os.getpid()} on" in refused[0]
        held.location.write("quick", b"")


PAUSED = """
    import sys, time
    from pathlib import Path
    from icecore.store import LockedError
    from icecore.store.files import lock
    from icecore.store.files.location import open_location
    from icecore.store.files.lock import writing

    lock.RENEW_SECONDS, lock.STALE_SECONDS = 0.3, 4.0
    url, signs = sys.argv[1], Path(sys.argv[2])
    try:
        with writing(open_location(url)) as held:
            (signs / "held").touch()
            while not (signs / "resumed").exists():
                time.sleep(0.02)
            time.sleep(0.5)
            held.location.write("late", b"")
    except LockedError:
        (signs / "stopped").touch()
"""


def test_a_paused_process_does_not_take_its_lease_back(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(lock, "STALE_SECONDS", 4.0)
    url = f"{s3}/{next(NUMBER)}/paused.ice"
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PAUSED), url, str(tmp_path)])
    try:
        while not (tmp_path / "held").exists():
            assert child.poll() is None
            time.sleep(0.05)
        with pytest.raises(LockedError, match=f"process {child.pid} on"), writing(open_location(url)):
            pass
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(4.5)
        with writing(open_location(url)) as held:
            (tmp_path / "resumed").touch()
            os.kill(child.pid, signal.SIGCONT)
            assert child.wait(60) == 0
            assert (tmp_path / "stopped").exists()
            assert _holder(url)["token"] == held.token
            held.location.write("ours", b"")
        assert sorted(open_location(url).sizes()) == ["ours"]
    finally:
        child.kill()
        child.wait()


def test_a_writer_that_was_cut_off_too_long_stops(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with writing(open_location(plain)) as held:
        held.location.write("early", b"")
        monkeypatch.setattr(lock, "STALE_SECONDS", 0.0)  # as if it had slept a minute
        with pytest.raises(LockedError, match="paused or cut off for too long"):
            held.location.write("late", b"")
        monkeypatch.setattr(lock, "STALE_SECONDS", 60.0)
        with pytest.raises(LockedError):  # and stays lost
            held.location.write("late", b"")


def _lose(url: str, tokens: dict[int, Tensor]) -> None:
    """Write a shard while another process takes the lease."""
    filesystem, root = fsspec.url_to_fs(url)
    with open_writer(url, make_spec(), make_samples(), FROZEN) as writer, writer.shard(writer.todo[0]) as out:
        out.append(range(64), {layer: tokens[layer][:64] for layer in tokens})
        filesystem.pipe_file(f"{root}/lock", json.dumps({**_holder(url), "token": "another"}).encode())


def test_a_writer_that_lost_its_store_ends_in_one_line_and_the_store_is_whole(
    plain: str, tokens: dict[int, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 10.0)  # a renewal on its way could cover the other's lease
    monkeypatch.setattr(lock, "STALE_SECONDS", 60.0)
    with pytest.raises(LockedError, match=r"run the command again to go on|no longer written"):
        _lose(plain, tokens)
    assert _holder(plain)["token"] == "another"
    assert open_store(plain).num_missing == 203
    filesystem, root = fsspec.url_to_fs(plain)
    filesystem.rm_file(f"{root}/lock")
    fill(plain, tokens)
    assert verify(plain) == []


@pytest.mark.parametrize("pid", [os.getpid(), 1, 2**22 + 1], ids=["own", "first", "none"])
def test_a_process_is_looked_for_without_proc(pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert lease._is_alive(pid) == (pid != 2**22 + 1)
