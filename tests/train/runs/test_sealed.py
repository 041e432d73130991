"""A RUN and a bundle notice every change of what they hold, and say so in one line that names the file."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from icecore.store import IcecoreError, IntegrityError, UsageError
from icecore.train import SelectSettings, load_bundle, open_run, select, train
from icecore.train.selection.chosen import read_chosen
from icecore.train.selection.test_split import record_test_read

from ..conftest import FAST, predictions_of, write_store

SETTINGS = SelectSettings(selector="average", num_resamples=100, device="cpu")
DOCUMENTS = ("run.json", "selection.json", "bundle/bundle.json")
FILES = (
    *DOCUMENTS,
    *("results.parquet", "adapters.safetensors", "validation.safetensors"),
    *("test.parquet", "bundle/adapters.safetensors"),
)


def make_chosen(folder: Path, planted: int) -> Path:
    """A RUN with a choice, of a store of its own."""
    url = write_store(folder, 61, planted=planted)
    train(
        url,
        str(folder / "r"),
        FAST.model_copy(update={"adapters": ("linear",), "heads": None, "epochs": 2, "lr": (1e-2, 1e-1)}),
    )
    select(str(folder / "r"), SETTINGS)
    return folder / "r"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chosen(tmp_path_factory.mktemp("pristine"), planted=1)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chosen(tmp_path_factory.mktemp("other"), planted=2)


@pytest.fixture
def run(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "r", symlinks=True))


def answer(run: Path) -> Any:
    """All that anybody can read of a RUN and its bundle."""
    opened, chosen, bundle = open_run(str(run)), read_chosen(str(run)), load_bundle(str(run / "bundle"))
    assert chosen is not None
    tokens = {layer: torch.linspace(-1, 1, 3 * 7 * 16).view(3, 7, 16) for layer in bundle.layers}
    tensors = {k: {name: t.tolist() for name, t in one.items()} for k, one in opened.tensors().items()}
    kept = opened.validation_predictions()
    return (
        opened.facts,
        opened.results.to_pylist(),
        tensors,
        [kept.rows.tolist(), kept.labels.tolist(), predictions_of(kept).tolist()],
        chosen.content,
        chosen.tested().to_pylist(),
        bundle.facts,
        bundle.predict(tokens).tolist(),
    )


def said(read: Callable[[], object]) -> str | None:
    """The one line that whoever reads gets; None where there is an answer. Another error is the test's own."""
    try:
        read()
    except IcecoreError as error:
        line = str(error)
    else:
        return None
    assert "\n" not in line
    return line


def refusal(run: Path, truth: Any) -> str | None:
    """What is said of a RUN; where nothing is, the answer is the true one."""

    def same() -> None:
        assert answer(run) == truth

    return said(same)


def damages(data: bytes, draw: random.Random) -> Iterator[bytes]:
    """Bits flipped, files cut short, bytes added, nothing left."""
    for _ in range(12):
        place = draw.randrange(len(data))
        yield data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
    for _ in range(3):
        yield data[: draw.randrange(len(data))]
    yield data + b"\n}"
    yield b""


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_never_believed(run: Path, name: str) -> None:
    truth, path = answer(run), run / name
    data = path.read_bytes()
    for damaged in damages(data, random.Random(name)):
        path.write_bytes(damaged)
        line = refusal(run, truth)
        if line is None:  # white space of JSON, and what follows the end of a table, mean nothing
            assert name in (*DOCUMENTS, "validation.safetensors")
            continue
        what, remedy = line.split("; ")
        assert path.name in what
        assert "icecore " in remedy or "again" in remedy


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(run: Path, name: str) -> None:
    (run / name).resolve().unlink()
    if name == "selection.json":
        assert read_chosen(str(run)) is None
    else:
        assert Path(name).name in (said(lambda: answer(run)) or "")


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_run_is_not_taken(run: Path, other: Path, name: str) -> None:
    truth = answer(run)
    for mine in [path for path in FILES if Path(path).parent == Path(name).parent and path != name]:
        shutil.copy(other / name, run / name)
        if name in DOCUMENTS or mine in DOCUMENTS:
            assert refusal(run, truth) is not None


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))


def edited(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    copy = json.loads(json.dumps(document))
    place = copy
    for key in path[:-1]:
        place = place[key]
    change(place, path[-1])
    return copy


VALUES: tuple[Any, ...] = (None, True, -1, 0.5, float("nan"), "x", [], {}, [1], {"x": 1})


READERS: dict[str, Callable[[str], object]] = {
    "run.json": open_run,
    "selection.json": read_chosen,
    "bundle/bundle.json": load_bundle,
}


def edits(document: Any, name: str) -> Iterator[str]:
    """The document with each of its fields once left out and once something else."""
    draw = random.Random(name)
    for where in leaves(document):
        other = draw.choice(VALUES)
        for change in (
            lambda place, key: place.pop(key),
            lambda place, key, other=other: place.__setitem__(key, other),
        ):
            altered = json.dumps(edited(document, where, change))
            if altered != json.dumps(document):
                yield altered


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_field_can_be_edited_unnoticed(run: Path, name: str) -> None:
    path = run / name
    for altered in edits(json.loads(path.read_text()), name):
        path.write_text(altered)
        with pytest.raises(IcecoreError, match=Path(name).name) as caught:
            READERS[name](str(run))
        assert "\n" not in str(caught.value)


def as_before(run: Path) -> None:
    """Make a RUN as versions before wrote it: without any checksum."""
    for name in DOCUMENTS:
        document = json.loads((run / name).read_text())
        fields = {
            key: value
            for key, value in document.items()
            if key not in ("files", "checksum", "run_sha256", "test_rows_sha256")
        }
        (run / name).write_text(json.dumps({key: value for key, value in fields.items() if key != "format"}))
    for name in ("run.json", "bundle/bundle.json"):
        (run / name).write_text(json.dumps(json.loads((run / name).read_text()) | {"format": 1}))


def test_a_run_of_an_earlier_version_is_read_and_chosen_from(run: Path) -> None:
    truth = answer(run)
    as_before(run)
    found = answer(run)
    assert found[1:4] == truth[1:4]
    assert found[-1] == truth[-1]
    assert load_bundle(str(run / "bundle")).document.files is None
    chosen = read_chosen(str(run))
    assert chosen is not None
    assert chosen.is_of(open_run(str(run)))
    assert select(str(run), SETTINGS).num_test_reads == 2
    again = read_chosen(str(run))
    assert again is not None
    assert again.is_of(open_run(str(run)))
    assert again.document.files is not None


def test_an_edited_bundle_of_an_earlier_version_ends_in_one_line_or_an_answer(run: Path) -> None:
    as_before(run)
    path = run / "bundle/bundle.json"
    num_refused = 0
    for altered in edits(json.loads(path.read_text()), "earlier"):
        path.write_text(altered)
        line = said(lambda: load_bundle(str(run / "bundle")))
        assert line is None or "bundle.json" in line
        num_refused += line is not None
    assert num_refused > 50


def test_weights_that_are_no_vote_are_refused(run: Path) -> None:
    as_before(run)
    path = run / "bundle/bundle.json"
    facts = json.loads(path.read_text())
    for weight in (0.0, -1.0, 7.0, float("nan"), float("inf")):
        members = [facts["members"][0] | {"weight": weight}, *facts["members"][1:]]
        path.write_text(json.dumps(facts | {"members": members}))
        with pytest.raises(IntegrityError, match=r"bundle.json: .*expected positive numbers that sum to 1"):
            load_bundle(str(run / "bundle"))


def test_what_a_later_version_wrote_is_said(run: Path) -> None:
    (run / "run.json").write_text(json.dumps({"format": 3, "files": {}, "checksum": "?"}))
    with pytest.raises(IcecoreError, match="has format 3, this icecore reads formats 1 to 2; upgrade icecore"):
        open_run(str(run))


def test_the_count_of_test_readings_is_sealed_too(run: Path) -> None:
    path = run / "test_reads.json"
    for altered in edits(json.loads(path.read_text()), "reads"):
        path.write_text(altered)
        with pytest.raises(IcecoreError, match=r"test_reads.json: .*it counts the readings of the test split"):
            record_test_read(str(run), "best")
    path.write_text(json.dumps([{"selector": "best"}] * 4))  # as versions before wrote it
    assert [record_test_read(str(run), "best") for _ in range(2)] == [5, 6]


def test_a_run_whose_recording_was_interrupted_says_how_to_go_on(run: Path) -> None:
    (run / "run.json").unlink()
    with pytest.raises(UsageError, match=r"its training is not finished, it has no run.json; run the icecore train"):
        open_run(str(run))
