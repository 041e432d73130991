"""`icecore report`: one HTML page about a run, or several side by side."""

from pathlib import Path
from typing import Annotated

import typer

from ..show.terminal import print_line


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of results of `icecore train` or `icecore compare --methods`."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="HTML file to write; without it, report.html in the first RUN."),
    ] = None,
) -> None:
    """Write one self-contained HTML page about RUN: accuracy by layer, the sweep, mistakes, cost, the commands.

    Example: icecore report runs/photos runs/photos-large --out compared.html
    """
    from ..report.page import write_report

    print_line(str(write_report(runs, out)))
