"""A byte of a RUN's ledger that changes costs time, or is told in one line; it never becomes other numbers."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from icecore.store import IcecoreError, IntegrityError
from icecore.train import TrainSettings, train
from icecore.train.runs.ledger_entry import HEADER, Entry, read_entry, read_tensors
from icecore.train.sweep.group import Group

from ..conftest import FAST, write_store

SETTINGS = FAST.model_copy(
    update={"adapters": ("linear",), "heads": None, "layers": "1", "lr": (1e-2, 1e-1), "epochs": 3, "batch_size": 16}
)
ENTRY = Entry(
    {"epoch": 3, "loss": [0.25, float("nan")], "name": "linear"},
    {
        "weight": torch.linspace(-1, 1, 6).view(2, 3),
        "half": torch.tensor([1.0, float("nan")]).bfloat16(),
        "num_steps": torch.tensor(7),
        "none": torch.empty(0, 3),
    },
)


def assert_same(found: Entry, expected: Entry) -> None:
    assert json.dumps(found.facts) == json.dumps(expected.facts)
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert (found.tensors[name].dtype, found.tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert found.tensors[name].flatten().view(torch.uint8).tolist() == tensor.flatten().view(torch.uint8).tolist()


def changed(data: bytes) -> Iterator[bytes]:
    """The same bytes, each once with its lowest bit and once with a higher one turned over; then cut short."""
    for place in range(len(data)):
        for bit in (1, 1 << (1 + place % 7)):
            yield data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
    for length in range(0, len(data), 7):
        yield data[:length]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    ENTRY.write(tmp_path / "e")
    found = read_entry(tmp_path / "e")
    assert found is not None
    assert_same(found, ENTRY)


def test_every_changed_byte_of_an_entry_is_found(tmp_path: Path) -> None:
    """What is read all the same is what was written: white space of the header means nothing."""
    ENTRY.write(path := tmp_path / "e")
    num_found, data = 0, path.read_bytes()
    for damaged in changed(data):
        path.write_bytes(damaged)
        try:
            entry = read_entry(path)
        except IcecoreError as error:  # the number of the format
            assert "upgrade icecore" in str(error)  # noqa: PT017
            entry = None
        num_found += entry is None
        if entry is not None:
            assert_same(entry, ENTRY)
    assert num_found > 2 * (len(data) - 100)


def test_a_tensor_that_changes_after_its_file_was_checked_is_found(tmp_path: Path) -> None:
    ENTRY.write(path := tmp_path / "e")
    assert read_tensors(path, ENTRY.digests, ["weight"])[0].equal(ENTRY.tensors["weight"])
    Entry(ENTRY.facts, ENTRY.tensors | {"weight": ENTRY.tensors["weight"] + 1}).write(path)
    with pytest.raises(IntegrityError, match=r"e: weight is not what was written .*; run the same icecore train"):
        read_tensors(path, ENTRY.digests, ["weight"])
    path.unlink()
    with pytest.raises(IntegrityError, match="e: cannot be read "):
        read_tensors(path, ENTRY.digests, ["weight"])


def bytes_of(run: Path) -> tuple[bytes, ...]:
    return tuple((run / name).read_bytes() for name in ("adapters.safetensors", "validation.safetensors"))


class Begun(NamedTuple):
    store: str
    half: Path
    whole: Path
    settings: TrainSettings
    num_steps_left: int  # of the half RUN


class StopHereError(Exception):
    pass


def stopped_after(num_steps: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let training stop after some steps; return the list that grows by one with each."""
    steps: list[int] = []
    original = Group._step

    def counted(self: Group, *others: object) -> object:
        if len(steps) == num_steps:
            raise StopHereError
        steps.append(1)
        return original(self, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(Group, "_step", counted)
    return steps


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A RUN that was stopped half way, and the same RUN at its end."""
    folder = tmp_path_factory.mktemp("begun")
    url, settings = write_store(folder, 61, planted=1), SETTINGS.model_copy(update={"checkpoint_seconds": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        stopped_after(3, patch)
        with pytest.raises(StopHereError):
            train(url, str(folder / "half"), settings)
    shutil.copytree(folder / "half", folder / "whole")
    with pytest.MonkeyPatch.context() as patch:
        steps = stopped_after(10**9, patch)
        train(url, str(folder / "whole"), settings)
    return Begun(url, folder / "half", folder / "whole", settings, len(steps))


def places(path: Path) -> Iterator[int]:
    """One byte in each field of the facts, in the header of each tensor, and in its values."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    facts = json.loads(header["__metadata__"][HEADER])
    yield 0
    for name in (*facts, *(name for name in header if name != "__metadata__")):
        yield data.index(name.encode()) + len(name) + 5
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118
            yield start + header[name]["data_offsets"][0]


@pytest.mark.parametrize("kind", ["part", "done"])
def test_a_run_with_a_changed_byte_in_its_ledger_ends_the_same(begun: Begun, tmp_path: Path, kind: str) -> None:
    url, half, whole, settings, _ = begun
    source = half if kind == "part" else whole
    (name,) = (path.name for path in (source / "ledger").glob(f"{kind}-*"))
    data = (source / "ledger" / name).read_bytes()
    for place in places(source / "ledger" / name):
        run = Path(shutil.copytree(source, tmp_path / f"{kind}-{place}"))
        (run / "ledger" / name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        train(url, str(run), settings)
        assert bytes_of(run) == bytes_of(whole)


def test_a_changed_byte_in_the_facts_of_a_ledger_is_told_in_a_line_or_means_nothing(
    begun: Begun, tmp_path: Path
) -> None:
    url, half, whole, settings, _ = begun
    run = Path(shutil.copytree(half, tmp_path / "r"))
    path = run / "ledger" / "store.json"
    data = path.read_bytes()
    for place in range(0, len(data), 13):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(IcecoreError) as caught:
            train(url, str(run), settings)
        assert "\n" not in str(caught.value)
    path.write_bytes(data)
    train(url, str(run), settings)
    assert bytes_of(run) == bytes_of(whole)


@pytest.mark.parametrize("kind", ["part", "done"])
def test_a_ledger_of_an_earlier_version_goes_on(
    begun: Begun, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a ledger has no checksum, and nothing that it holds is trained again."""
    url, half, whole, settings, num_steps_left = begun
    run = Path(shutil.copytree(half if kind == "part" else whole, tmp_path / "r"))
    for path in (run / "ledger").glob("*.safetensors"):
        entry = read_entry(path)
        assert entry is not None
        path.write_bytes(save(entry.tensors, {HEADER: json.dumps(entry.facts)}))
    facts = json.loads((run / "ledger" / "store.json").read_text())
    (run / "ledger" / "store.json").write_text(
        json.dumps({key: value for key, value in facts.items() if key not in ("format", "files", "checksum")})
    )
    steps = stopped_after(10**9, monkeypatch)
    train(url, str(run), settings)
    assert bytes_of(run) == bytes_of(whole)
    assert num_steps_left > 0
    assert len(steps) == (num_steps_left if kind == "part" else 0)
