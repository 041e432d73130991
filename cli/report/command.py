"""`icecore report`: one HTML page about a run."""

from pathlib import Path
from typing import Annotated

import typer

from ..terminal import print_line


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by `icecore train`.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the page goes; RUN/report.html.")] = None,
) -> None:
    """Write one self-contained HTML page about RUN: accuracy by layer, the sweep, learning curves, cost, settings.

    Example: icecore report runs/photos
    """
    from .page import write_report

    print_line(str(write_report(run, out)))
