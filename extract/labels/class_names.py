"""Names of classes: Unicode forms of one name are one class, and several files share one numbering."""

import unicodedata
from collections.abc import Sequence

from icecore.store import UsageError

from ..files.tally import Tally


def normal(name: str) -> str:
    """Return the Unicode form NFC of a name, in which names are compared."""
    return unicodedata.normalize("NFC", name)


def one_spelling(names: Sequence[str], tally: Tally) -> list[str]:
    """Return the class names of rows; names that occur in several Unicode forms become NFC and are noted in `tally`."""
    forms: dict[str, set[str]] = {}
    for name in set(names):
        forms.setdefault(normal(name), set()).add(name)
    several = {form: composed for composed, found in forms.items() if len(found) > 1 for form in found}
    for name in names:
        if name in several:
            tally.note("rows of a class spelt in several Unicode forms, read as one (NFC)", several[name])
    return [several.get(name, name) for name in names]


def common_classes(
    names_of_files: Sequence[Sequence[str]], where: str, tally: Tally
) -> tuple[tuple[str, ...], list[Sequence[int] | None]]:
    """Return the common classes of several files or splits, and for each file its class numbers among them.

    A file whose numbers need no change has None for its numbers. That is so for all files where their names are equal
    or absent; else classes are matched by name, in the order of their first occurrence.

    Args:
        names_of_files: the class names of each file by number; empty for a file without names.
        where: names the source in error messages.
        tally: notes files without names and files that differ.

    Raises:
        UsageError: the names differ, and a file has none or a name twice.
    """
    named = [names for names in names_of_files if names]
    if not named:
        return (), [None] * len(names_of_files)
    forms = [[normal(name) for name in names] for names in named]
    repeated = any(len(set(form)) < len(set(names)) for form, names in zip(forms, named, strict=True))
    alike = not repeated and all(names == forms[0] for names in forms)
    if len(named) < len(names_of_files):
        if not alike:
            raise UsageError(
                f"{where}: class names differ, and stand in {len(named)} of {len(names_of_files)} files; write them "
                "into all"
            )
        tally.note("files without class names, which other files tell", where, len(names_of_files) - len(named))
    if alike:
        return tuple(named[0]), [None] * len(names_of_files)
    twice = next((name for names in named for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{where}: class names differ, and {twice!r} is the name of two classes; expected one each")
    union = list(dict.fromkeys(name for names in forms for name in names))
    number = {name: label for label, name in enumerate(union)}
    tally.note("files that number their classes in ways of their own, read by name", where, len(names_of_files))
    return tuple(union), [[number[normal(name)] for name in names] for names in names_of_files]
