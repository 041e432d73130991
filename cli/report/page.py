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

NamedDocument = tuple[str, Document]


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the page about result folders to `out`, else to report.html in the first folder; return its path.

    Raises:
        UsageError: a folder is no result of `train` or `compare`, or `out` is a file that icecore did not write.
        IcecoreError: a file of a folder was changed, or no adapter of a run finished its training.
    """
    results = _read(runs)
    out = out or runs[0] / PAGE
    require_file(out, _is_page, "a page of icecore report")
    write_atomic(str(out), _render(*results).encode())
    return out


def _is_page(path: Path) -> bool:
    """Return whether a file is a page that any version of icecore wrote."""
    with path.open("rb") as file:
        return MARK in file.read(LOOKED_AT)


def is_current(run: Path) -> bool:
    """Return whether the report.html in a run folder was made from the results that the folder holds now."""
    page = run / PAGE
    return (
        page.is_file()
        and _sources([read_findings(run)], []) in page.read_text(encoding="utf-8", errors="replace")[:LOOKED_AT]
    )


def render_report(runs: Sequence[Path]) -> str:
    """Return the HTML page about folders of `train` or `compare`; UsageError where a folder is neither."""
    return _render(*_read(runs))


def _read(runs: Sequence[Path]) -> tuple[list[Findings], list[NamedDocument]]:
    """Return the findings of each folder of `train`, and each folder of `compare` as its name and comparison.json."""
    compared = [run for run in runs if (run / COMPARISON_FILE).exists()]
    findings = [read_findings(run) for run in runs if run not in compared]
    for stale in (each for each in findings if each.is_stale):
        notes().print(
            f"note: {stale.path} was trained further since the selection; run icecore select {stale.path} again"
        )
    return findings, [(run.resolve().name, read_comparison(str(run))) for run in compared]


def _render(findings: Sequence[Findings], comparisons: Sequence[NamedDocument]) -> str:
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
        sources=_sources(findings, comparisons),
        articles=[article(each, f"run {number}") for number, each in enumerate(findings, start=1)],
        comparison=comparison(findings) if len(findings) > 1 else None,
        compared=[
            methods(name, document.content, f"methods {number}")
            for number, (name, document) in enumerate(comparisons, start=1)
        ],
    )


def _sources(findings: Sequence[Findings], comparisons: Sequence[NamedDocument]) -> str:
    """Return one checksum over all files that the page is made from."""
    checksums = [document.checksum for _, document in comparisons]
    return checksum([*(each.sources for each in findings), *checksums])
