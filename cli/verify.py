"""`icecore verify`: read every byte of a store and say what is wrong."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import notes, print_json, print_line

if TYPE_CHECKING:
    from icecore.store import Problem


def verify(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A path or any fsspec URL.")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Strike what is damaged from the ledger: extract redoes it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For another program.")] = False,
) -> None:
    """Read every byte of STORE, check every checksum and the ledger; exit 1 and name what is wrong.

    Example: icecore verify photos.ice
    """
    from icecore.store import verify as check

    with notes().status(f"reading {store}"):
        problems = check(store, repair=repair)
    if as_json:
        print_json({"ok": not problems, "problems": [dataclasses.asdict(problem) for problem in problems]})
    elif problems:
        for problem in problems:
            print_line(_line(problem))
    else:
        print_line("ok: every checksum and the ledger agree")
    if problems:
        raise typer.Exit(1)


def _line(problem: "Problem") -> str:
    layer = "" if problem.layer is None else f", layer {problem.layer}"
    rows = "" if problem.rows is None else f", rows {problem.rows[0]}-{problem.rows[1] - 1}"
    return f"{problem.file}{layer}{rows}: {problem.what}"
