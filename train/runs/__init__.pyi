"""The public names of `icecore.train.runs`, by module; each is imported when it is first asked for."""

from .atomic_switch import replace
from .candidate import Candidate, Recipe
from .inputs import Inputs, inputs_of
from .ledger import Ledger, Outcome
from .ledger_entry import Entry
from .origin import store_of
from .result import DIVERGED, OK, EpochResult, from_row, to_row
from .run import results_bytes
from .sealed_folder import Document, checksum, load_document, seal

__all__ = [
    "Candidate",
    "DIVERGED",
    "Document",
    "Entry",
    "EpochResult",
    "Inputs",
    "Ledger",
    "OK",
    "Outcome",
    "Recipe",
    "checksum",
    "from_row",
    "inputs_of",
    "load_document",
    "replace",
    "results_bytes",
    "seal",
    "store_of",
    "to_row",
]
