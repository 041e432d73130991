"""The ledger of a RUN: finished groups of adapters, and checkpoints of unfinished groups.

RUN/ledger/store.json names the store and the inputs that the sweep uses. `done-*.safetensors` hold finished groups,
`part-*.safetensors` checkpoints. An adapter is identified by its adapter_id, the hash of its candidate, and by the
conditions that all adapters of a sweep share (rows, labels, order, type). An adapter is never trained twice under the
same conditions.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from icecore.store import Store, UsageError, only_writer, require_destination, write_atomic

from ..tokens.order import RULE
from .candidate import Candidate
from .inputs import Inputs
from .lazy_mapping import LazyMapping
from .ledger_entry import Entry, read_entry, read_tensors
from .origin import differences
from .result import STATUS_STOPPED, EpochResult, result_from_row, result_to_row
from .sealed_folder import document_bytes, load_document

STORE = "store.json"


@dataclass(frozen=True)
class Outcome:
    """The results of one group of adapters; parameters and validation predictions are by adapter_id.

    Tensors of an outcome from the ledger are read from its file on access.
    """

    results: list[EpochResult]
    trained: Mapping[str, Mapping[str, Tensor]]
    predictions: Mapping[str, Tensor]
    reading_seconds: float
    training_seconds: float


class Ledger:
    """The ledger of one RUN under one set of conditions; workers read and add entries while the sweep holds it."""

    def __init__(self, run: str, inputs: Inputs, conditions: dict[str, Any], halving: bool) -> None:
        self._run = Path(run)
        self._folder = self._run / "ledger"
        self._inputs = inputs
        self.conditions = conditions | {"inputs_sha256": inputs.sha256}
        self._halving = halving
        self.growth: list[str] = []  # of the store, since this RUN was trained from it last; known once held

    @contextlib.contextmanager
    def held(self, store: Store) -> Iterator[None]:
        """Hold the RUN's lock for the body of the `with`, and record the store.

        Raises:
            UsageError: the RUN was trained from another store.
            LockedError: another process trains into the RUN.
        """
        _require_free(self._run, store)
        with only_writer(str(self._folder)):
            if "inputs" in (before := read_facts(self._folder / STORE)):
                self.growth = Inputs.model_validate(before["inputs"]).growth(self._inputs)
            for unfinished in self._folder.glob(".*"):  # what a killed process was writing
                unfinished.unlink(missing_ok=True)
            facts = {
                "store": store.url,
                "identity_sha256": store.identity.sha256,
                "inputs": self._inputs.model_dump(mode="json"),
                "compute_dtype": self.conditions["compute_dtype"],
            }
            write_atomic(str(self._folder / STORE), document_bytes(facts, {}))
            self._forget_parts_of_what_ended()
            yield

    def outcomes(self, asked: Sequence[Candidate]) -> list[Outcome]:
        """Return the finished outcomes of the candidates asked for, each candidate once.

        A candidate that successive halving stopped counts as finished only if this sweep halves too.
        """
        wanted = {candidate.adapter_id for candidate in asked}
        found: list[Outcome] = []
        for path in sorted(self._folder.glob("done-*.safetensors")):
            entry = self._read(path)
            if entry is not None and (known := wanted & _ended(entry, self._halving)):
                wanted -= known
                found.append(_outcome(path, entry, known))
        return found

    def checkpoints(self, pending: Sequence[Candidate]) -> list[Entry]:
        """Return the checkpoints of groups whose candidates are all still pending."""
        left = {candidate.adapter_id for candidate in pending}
        found: list[Entry] = []
        for path in sorted(self._folder.glob("part-*.safetensors")):
            entry = self._read(path)
            ids = {candidate.adapter_id for candidate in candidates_of(entry)} if entry is not None else set()
            if entry is not None and _may_go_on(entry, self._halving) and ids <= left:
                left -= ids
                found.append(entry)
        return found

    def save(self, candidates: Sequence[Candidate], entry: Entry) -> None:
        """Save a group's checkpoint in place of its previous checkpoint."""
        shared = {"conditions": self.conditions, "halving": self._halving, "order": RULE}
        Entry(entry.facts | shared, entry.tensors).write(self._path("part", candidates))

    def finish(self, candidates: Sequence[Candidate], outcome: Outcome) -> Outcome:
        """Save the outcome of a finished group, drop its checkpoint, and return the outcome with tensors on disk."""
        tensors = {f"predictions/{key}": table for key, table in outcome.predictions.items()}
        for key, one in outcome.trained.items():
            tensors |= {f"trained/{key}/{name}": tensor.contiguous() for name, tensor in one.items()}
        facts = {
            "conditions": self.conditions,
            "results": [result_to_row(result) for result in outcome.results],
            "reading_seconds": outcome.reading_seconds,
            "training_seconds": outcome.training_seconds,
        }
        path, entry = self._path("done", candidates), Entry(facts, tensors)
        entry.write(path)
        self._path("part", candidates).unlink(missing_ok=True)
        return _outcome(path, entry, {result.candidate.adapter_id for result in outcome.results})

    def _forget_parts_of_what_ended(self) -> None:
        """Remove the places of groups that were killed after they were recorded as done, whatever the conditions."""
        done = [entry for path in self._folder.glob("done-*.safetensors") if (entry := read_entry(path)) is not None]
        ended = [(entry.facts["conditions"], _ended(entry, self._halving)) for entry in done]
        for path in self._folder.glob("part-*.safetensors"):
            entry = read_entry(path)
            if entry is None:
                continue
            alike = [ids for conditions, ids in ended if conditions == entry.facts["conditions"]]
            if {candidate.adapter_id for candidate in candidates_of(entry)} <= set().union(*alike):
                path.unlink(missing_ok=True)

    def _path(self, kind: str, candidates: Sequence[Candidate]) -> Path:
        text = json.dumps([sorted(candidate.adapter_id for candidate in candidates), self.conditions], sort_keys=True)
        return self._folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"

    def _read(self, path: Path) -> Entry | None:
        entry = read_entry(path)
        return entry if entry is not None and self._is_ours(entry.facts["conditions"]) else None

    def _is_ours(self, theirs: dict[str, Any]) -> bool:
        """Say whether an entry was made under our conditions; an earlier version did not record all of them."""
        if "inputs_sha256" in theirs:
            return theirs == self.conditions
        return self._had_our_target and all(self.conditions.get(key) == value for key, value in theirs.items())

    @cached_property
    def _had_our_target(self) -> bool:
        """Whether the kind of target was ours before it was recorded: if RUN says so, or else one class a row.

        Numbers never were: predictions of them were kept in float16, in the data set's unit.
        """
        facts, ours = read_facts(self._run / "run.json"), self._inputs.target
        return facts.get("target", {"name": "class"})["name"] == ours and ours != "regression"


def _ended(entry: Entry, halving: bool) -> set[str]:
    """Return who of a finished group is done with: trained to the end, diverged, or stopped where that may be."""
    last = {row["adapter_id"]: str(row["status"]) for row in entry.facts["results"]}
    return {key for key, status in last.items() if halving or not status.startswith(STATUS_STOPPED)}


def _may_go_on(entry: Entry, halving: bool) -> bool:
    """Say whether a place is one of this order of rows and this way of stopping; what stands elsewhere begins anew."""
    return entry.facts["halving"] == halving and entry.facts.get("order") == RULE


def _outcome(path: Path, entry: Entry, ids: set[str]) -> Outcome:
    """Return what an entry, which lies at a path, holds of some adapters; of its tensors the names alone."""
    trained: dict[str, list[str]] = {}
    predicted: list[str] = []
    digests = entry.digests
    for name in entry.tensors:
        kind, adapter_id, *parameter = name.split("/", 2)
        if adapter_id in ids and kind == "predictions":
            predicted.append(adapter_id)
        elif adapter_id in ids:
            trained.setdefault(adapter_id, []).append(parameter[0])

    def parameters(key: str) -> dict[str, Tensor]:
        read = read_tensors(path, digests, [f"trained/{key}/{name}" for name in trained[key]])
        return dict(zip(trained[key], read, strict=True))

    results = [result_from_row(row) for row in entry.facts["results"] if row["adapter_id"] in ids]
    share = len(ids) / len({row["adapter_id"] for row in entry.facts["results"]})
    seconds = (entry.facts["reading_seconds"] * share, entry.facts["training_seconds"] * share)
    tables = LazyMapping(
        predicted, lambda key: read_tensors(path, digests, [f"predictions/{key}"])[0].float()
    )  # once float16
    return Outcome(results, LazyMapping(trained, parameters), tables, *seconds)


def begun_in(run: str) -> str | None:
    """Return the compute type in which a RUN was begun; None if there is no RUN, or it records no type."""
    return read_facts(Path(run) / "ledger" / STORE).get("compute_dtype")


def read_facts(path: Path) -> dict[str, Any]:
    """Return the content of a JSON document of a RUN, or an empty dict if there is no document.

    Raises:
        IntegrityError: the document does not match its checksum.
    """
    try:
        return load_document(path, "remove the file and run the same command again, or choose another --out").content
    except FileNotFoundError:
        return {}


def _require_free(folder: Path, store: Store) -> None:
    """Refuse an output folder that holds something other than a run from the same store."""
    require_destination(str(folder), "run")
    facts = read_facts(folder / "ledger" / STORE) or read_facts(folder / "run.json")
    if facts and (found := differences(facts, store)):
        raise UsageError(
            f"{folder}: holds a run from another store, {facts['store']}; choose another --out or remove it "
            f"(asked for {store.url}: {'; '.join(found)})"
        )


def candidates_of(entry: Entry) -> list[Candidate]:
    """Return the candidates with which the group of a checkpoint began, including those that have ended."""
    return [Candidate.model_validate(candidate) for candidate in entry.facts["candidates"]]
