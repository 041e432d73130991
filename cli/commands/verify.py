"""`icecore verify`: read every byte of a store and say what is wrong."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from ..show.terminal import notes, print_json, print_line

if TYPE_CHECKING:
    from icecore.extract import LayerDifference
    from icecore.store import Problem


def verify(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A path or any fsspec URL.")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Strike what is damaged from the ledger: extract redoes it.")
    ] = False,
    recompute: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Run N random rows live, and compare.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For another program.")] = False,
) -> None:
    """Read every byte of STORE, check every checksum and the ledger; exit 1 and name what is wrong.

    With --recompute, images and backbone are needed as well; every layer's largest difference is told.

    Example: icecore verify photos.ice --recompute 20
    """
    from icecore.store import open_store
    from icecore.store import verify as check

    with notes().status(f"reading {store}"):
        problems = check(store, repair=repair)
    differences = _recompute(store, recompute) if recompute and not problems else []
    failures = {} if problems else open_store(store).failures
    ok = not problems and all(difference.ok for difference in differences)
    if as_json:
        listed = [dataclasses.asdict(problem) for problem in problems]
        answer = {"ok": ok, "problems": listed} | ({"failures": failures} if failures else {})
        print_json(answer | ({"recomputed": [dataclasses.asdict(one) for one in differences]} if recompute else {}))
    elif problems:
        for problem in problems:
            print_line(_line(problem))
    else:
        print_line("ok: every checksum and the ledger agree")
        for reason, count in failures.items():
            print_line(f"{count} rows without tokens: {reason}")
        for one in differences:
            verdict = "" if one.ok else "  WRONG: more than rounding explains"
            print_line(f"layer {one.layer}: live - stored at most {one.largest:.3g}, {one.relative:.2%}{verdict}")
    if not ok:
        raise typer.Exit(1)


def _recompute(store: str, num_rows: int) -> "list[LayerDifference]":
    from icecore.extract import recompute

    with notes().status(f"running {num_rows} rows of {store} again"):
        return recompute(store, num_rows)


def _line(problem: "Problem") -> str:
    layer = "" if problem.layer is None else f", layer {problem.layer}"
    rows = "" if problem.rows is None else f", rows {problem.rows[0]}-{problem.rows[1] - 1}"
    return f"{problem.file}{layer}{rows}: {problem.what}"
