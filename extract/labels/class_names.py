"""The names of classes: two Unicode forms of the same letters are one class, and several files number them alike."""

import unicodedata
from collections.abc import Sequence

from icecore.store import UsageError

from ..files.tally import Tally


def normal(name: str) -> str:
    """Return the form of a name by which names are compared (NFC)."""
    return unicodedata.normalize("NFC", name)


def one_spelling(names: Sequence[str], tally: Tally) -> list[str]:
    """Return the names of classes, row by row; those that occur in several Unicode forms become NFC, which is noted.

    A name that has one form only keeps it.
    """
    forms: dict[str, set[str]] = {}
    for name in set(names):
        forms.setdefault(normal(name), set()).add(name)
    several = {form: composed for composed, found in forms.items() if len(found) > 1 for form in found}
    for name in names:
        if name in several:
            tally.note("rows of a class spelt in several Unicode forms, read as one (NFC)", several[name])
    return [several.get(name, name) for name in names]


def common_classes(
    told: Sequence[Sequence[str]], where: str, tally: Tally
) -> tuple[tuple[str, ...], list[Sequence[int] | None]]:
    """Return the classes of several files or splits, and for each of them what its numbers become among those.

    Where all tell the same names, or some tell none, numbers stay as they are. Else classes are mapped by name: those
    of the first, then those that it does not have.

    Raises:
        UsageError: names differ, and a file that tells none could mean either.
    """
    named = [names for names in told if names]
    if not named:
        return (), [None] * len(told)
    forms = [[normal(name) for name in names] for names in named]
    repeated = any(len(set(names)) < len(set(one)) for names, one in zip(forms, named, strict=True))
    alike = not repeated and all(names == forms[0] for names in forms)
    if len(named) < len(told):
        if not alike:
            raise UsageError(
                f"{where}: class names differ, and stand in {len(named)} of {len(told)} files; write them into all"
            )
        tally.note("files without class names, which other files tell", where, len(told) - len(named))
    if alike:
        return tuple(named[0]), [None] * len(told)
    twice = next((name for names in named for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{where}: class names differ, and {twice!r} is the name of two classes; expected one each")
    union = list(dict.fromkeys(name for names in forms for name in names))
    place = {name: label for label, name in enumerate(union)}
    tally.note("files that number their classes in ways of their own, read by name", where, len(told))
    return tuple(union), [[place[normal(name)] for name in names] for names in told]
