"""Runs as one self-contained HTML page: no network, no other file, readable on a phone and in print."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined

from icecore.store import write_atomic

from ..wording import configuration, layers_in_words, percent, short
from .article import article
from .comparison import comparison
from .findings import read_findings
from .methods import FILE, methods

FOLDER = files("icecore.cli.report")


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the page of some run folders and return where it lies: in the first where nothing else is asked for."""
    out = out or runs[0] / "report.html"
    write_atomic(str(out), render_report(runs).encode())
    return out


def render_report(runs: Sequence[Path]) -> str:
    """Return the page of some folders of `train` or `compare`; raises UsageError where one is neither."""
    compared = [run for run in runs if (run / FILE).exists()]
    found = [read_findings(run) for run in runs if run not in compared]
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda name: (FOLDER / name).read_text()),
    )
    environment.filters |= {
        "percent": percent,
        "configuration": configuration,
        "short": short,
        "layers": layers_in_words,
    }
    articles = [article(findings, f"run {place}") for place, findings in enumerate(found, start=1)]
    several = comparison(found) if len(found) > 1 else None
    css = (FOLDER / "page.css").read_text()
    beside = [methods(path, f"methods {place}") for place, path in enumerate(compared, start=1)]
    return environment.get_template("page.html").render(css=css, articles=articles, comparison=several, compared=beside)
