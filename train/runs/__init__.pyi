"""The public names of `icecore.train.runs`, by module; each is imported when it is first asked for."""

from .atomic_switch import replace_files
from .candidate import Candidate, Recipe
from .inputs import Inputs, inputs_of
from .ledger import Ledger, Outcome
from .ledger_entry import Entry
from .origin import open_run_store
from .result import STATUS_DIVERGED, STATUS_OK, EpochResult, best_first, result_from_row, result_to_row
from .run import results_bytes
from .sealed_folder import Document, checksum, document_bytes, load_document

__all__ = [
    "Candidate",
    "Document",
    "Entry",
    "EpochResult",
    "Inputs",
    "Ledger",
    "Outcome",
    "Recipe",
    "STATUS_DIVERGED",
    "STATUS_OK",
    "best_first",
    "checksum",
    "document_bytes",
    "inputs_of",
    "load_document",
    "open_run_store",
    "replace_files",
    "result_from_row",
    "result_to_row",
    "results_bytes",
]
