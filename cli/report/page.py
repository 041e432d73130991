"""Runs as one self-contained HTML page: no network, no other file, readable on a phone and in print."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined

from icecore.live.comparison import COMPARISON_FILE, read_comparison
from icecore.store import require_file, write_atomic
from icecore.train.runs import Document, checksum

from ..show.terminal import notes
from ..show.wording import configuration, layers_in_words, percent, short
from .article import article
from .comparison import comparison
from .findings import Findings, read_findings
from .methods import methods

FOLDER = files("icecore.cli.report")
PAGE = "report.html"
MARK = b'content="What icecore trained and chose'  # in the head of every page
LOOKED_AT = 2000  # characters of a page, which holds the digest of its sources at the beginning


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the page of some run folders and return where it lies: in the first where nothing else is asked for."""
    out = out or runs[0] / PAGE
    require_file(out, _is_page, "a page of icecore report")
    write_atomic(str(out), render_report(runs).encode())
    return out


def _is_page(path: Path) -> bool:
    """Say whether a file is a page that some version wrote here."""
    with path.open("rb") as file:
        return MARK in file.read(LOOKED_AT)


def is_current(run: Path) -> bool:
    """Say whether the page that lies in a run folder was made of what the run holds now."""
    page = run / PAGE
    return (
        page.is_file()
        and _sources([read_findings(run)], []) in page.read_text(encoding="utf-8", errors="replace")[:LOOKED_AT]
    )


def render_report(runs: Sequence[Path]) -> str:
    """Return the page of some folders of `train` or `compare`; raises UsageError where one is neither."""
    compared = [run for run in runs if (run / COMPARISON_FILE).exists()]
    found = [read_findings(run) for run in runs if run not in compared]
    for findings in found:
        if findings.is_stale:
            notes().print(
                f"note: {findings.path} was trained further since it was chosen from; icecore select it again"
            )
    beside = [read_comparison(str(path)) for path in compared]
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: (FOLDER / name).read_text(encoding="utf-8")),
    )
    environment.filters |= {
        "percent": percent,
        "configuration": configuration,
        "short": short,
        "layers": layers_in_words,
    }
    return environment.get_template("page.html").render(
        css=(FOLDER / "page.css").read_text(encoding="utf-8"),
        sources=_sources(found, beside),
        articles=[article(findings, f"run {place}") for place, findings in enumerate(found, start=1)],
        comparison=comparison(found) if len(found) > 1 else None,
        compared=[
            methods(path.resolve().name, one.content, f"methods {place}")
            for place, (path, one) in enumerate(zip(compared, beside, strict=True), start=1)
        ],
    )


def _sources(found: Sequence[Findings], compared: Sequence[Document]) -> str:
    """Return the digest of all that a page tells."""
    return checksum([*(findings.sources for findings in found), *(one.checksum for one in compared)])
