"""The files that `select` writes into a RUN together: selection.json, test.parquet and the bundle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from icecore.store import validation_message

from ..runs.atomic_switch import switch_files
from ..runs.run import Run, open_run
from ..runs.sealed_folder import Document, document_bytes, load_document
from .bundle import Bundle
from .selection import Selection

DOCUMENT, BUNDLE, TEST = "selection.json", "bundle", "test.parquet"
SETS = "choices"  # of every choice that a RUN holds: the current one and the one before


@dataclass(frozen=True)
class Chosen:
    """A selection read from its RUN, with the document that it was read from."""

    document: Document
    selection: Selection

    @property
    def content(self) -> dict[str, Any]:
        """The content of selection.json."""
        return self.document.content

    def is_of(self, run: Run) -> bool:
        """Return whether the selection was made among the adapters that the run holds now."""
        if self.selection.run_sha256 is not None:
            return self.selection.run_sha256 == run.sha256
        named = {one.adapter_id for one in (*self.selection.selected, *self.selection.table)}
        return named <= run.candidates.keys() and self.selection.num_candidates == len(run.candidates)

    def tested(self) -> pa.Table:
        """Return test.parquet: the prediction for every test row."""
        try:
            return pq.read_table(pa.BufferReader(self.document.read(TEST)), use_threads=False)
        except pa.ArrowException as error:
            what = f"is no Parquet that can be read ({str(error).splitlines()[0]})"
            raise self.document.broken(TEST, what) from None


def read_chosen(run: str) -> Chosen | None:
    """Return the selection of a RUN, or None if there is none; IntegrityError if its file was changed."""
    try:
        document = load_document(Path(run) / DOCUMENT, f"choose anew with icecore select {run}")
    except FileNotFoundError:
        return None
    try:
        return Chosen(document, Selection.model_validate(document.content))
    except ValidationError as error:
        raise document.broken(DOCUMENT, validation_message(error)) from None


def write_chosen(run: str, selection: Selection, test: bytes, bundle: Mapping[str, bytes]) -> None:
    """Replace the previous selection of a RUN, in one step."""
    files = {TEST: test, **{f"{BUNDLE}/{name}": data for name, data in bundle.items()}}
    content = json.loads(selection.model_dump_json())  # where a number that is none is null
    switch_files(Path(run), SETS, DOCUMENT, partial(document_bytes, content), files)


def trained_since(bundle: Bundle, path: str) -> str | None:
    """Return the RUN folder of a bundle if the RUN was trained further since the bundle was made, else None."""
    for folder in (Path(path), Path(path).absolute().parent):
        if (folder / "run.json").is_file() and (folder / BUNDLE).resolve() == bundle.document.folder:
            is_old = bundle.facts.run_sha256 not in (None, open_run(str(folder)).sha256)
            return str(folder) if is_old else None
    return None
