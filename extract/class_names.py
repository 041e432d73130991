"""One spelling for the name of a class: two Unicode forms of the same letters are one class."""

import unicodedata
from collections.abc import Sequence

from .tally import Tally


def one_spelling(names: Sequence[str], tally: Tally) -> list[str]:
    """Return the names of classes, row by row; those that occur in several Unicode forms become NFC, which is noted.

    A name that has one form only keeps it.
    """
    forms: dict[str, set[str]] = {}
    for name in set(names):
        forms.setdefault(unicodedata.normalize("NFC", name), set()).add(name)
    several = {form: composed for composed, found in forms.items() if len(found) > 1 for form in found}
    for name in names:
        if name in several:
            tally.note("rows of a class spelt in several Unicode forms, read as one (NFC)", several[name])
    return [several.get(name, name) for name in names]
