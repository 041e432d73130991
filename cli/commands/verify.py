"""`icecore verify`: read every byte of a store and say what is wrong."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from ..options.shared_options import AS_JSON, STORE
from ..show.terminal import notes, print_json, print_line

if TYPE_CHECKING:
    from icecore.extract import LayerDifference
    from icecore.store import Problem


def verify(
    store: Annotated[str, STORE],
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Remove damaged shards from the ledger, so that `icecore extract` writes new ones."
        ),
    ] = False,
    recompute: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of random images to run through the backbone again and compare; without it, none.",
        ),
    ] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Read every byte of STORE and check every checksum and the ledger; exit with 1 and name what is damaged.

    --recompute needs the images and the backbone, and prints the largest difference of each layer.

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
