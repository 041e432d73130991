"""A run as one self-contained HTML page: no network, no other file, readable on a phone and in print."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from ..wording import configuration, duration, percent, short, size
from . import plots
from .cost import cost_of
from .findings import Findings, Trained, read_findings
from .tables import by_layer, sweep


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run folder and return where it lies: RUN/report.html where nothing else is asked for."""
    from icecore.store import write_atomic

    out = out or run / "report.html"
    write_atomic(str(out), render_report(run).encode())
    return out


def render_report(run: Path) -> str:
    """Return the page of a run folder; raises UsageError where it is none."""
    from jinja2 import Environment, StrictUndefined

    findings = read_findings(run)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "configuration": configuration, "short": short}
    folder = files("icecore.cli.report")
    template = environment.from_string((folder / "page.html").read_text())
    return template.render(css=(folder / "page.css").read_text(), **_context(findings))


def _context(findings: Findings) -> dict[str, Any]:
    leader = plots.leading_adapter(findings)
    return {
        "title": f"{findings.run['store']} · {findings.run['backbone']['name']} · icecore",
        "run": findings.run,
        "selection": findings.selection,
        "families": findings.families,
        "headline": _headline(findings, leader),
        "leader": f"{leader.adapter} at layer {leader.layer}",
        "facts": _facts(findings),
        "by_layer": by_layer(findings),
        "sweeps": [sweep(findings, family) for family in findings.families],
        "num_seeds": len({each.seed for each in findings.trained}),
        "adapters": sorted(findings.trained, key=lambda each: -each.top1),
        "plots": {
            "accuracy": {width: plots.accuracy_by_layer(findings, width == "narrow") for width in ("wide", "narrow")},
            "curves": {width: plots.learning_curves(findings, width == "narrow") for width in ("wide", "narrow")},
        },
        "sections": _sections(findings),
    }


def _headline(findings: Findings, leader: Trained) -> str:
    members = len(findings.selection["selected"]) if findings.selection else 1
    return f"Layer {leader.layer} with {leader.adapter}" if members == 1 else f"An ensemble of {members} adapters"


def _facts(findings: Findings) -> list[dict[str, str]]:
    selection = findings.selection or {}
    facts = [_split_fact(selection, split) for split in ("test", "validation") if selection.get(split)]
    if not facts:
        best = plots.leading_adapter(findings)
        facts.append({"name": "validation accuracy", "value": f"{percent(best.top1)} %", "note": "best of the sweep"})
    layers = len({each.layer for each in findings.trained})
    cost = findings.run["cost"]
    return [
        *facts,
        {"name": "adapters trained", "value": str(len(findings.trained)), "note": f"over {layers} layers"},
        {"name": "training", "value": duration(cost["elapsed_seconds"]), "note": f"{size(cost['bytes_read'])} read"},
    ]


def _split_fact(selection: dict[str, Any], split: str) -> dict[str, str]:
    result = selection[split]
    note = f"{percent(result['low'])} to {percent(result['high'])}, {result['num_rows']} rows"
    return {"name": f"{split} accuracy", "value": f"{percent(result['score'])} %", "note": note}


def _sections(findings: Findings) -> list[dict[str, Any]]:
    run = findings.run
    data = {
        "store": run["store"],
        "backbone": run["backbone"]["name"],
        "weights, SHA-256": run["backbone"]["weights_sha256"],
        "checkpoint": run["backbone"]["checkpoint"],
        "classes": len(run["classes"]),
        "validation": f"{run['validation']['how']}, {run['validation']['num_rows']} rows",
    }
    identity = {
        key.replace("_", " "): value
        for key, value in run["identity"].items()
        if key not in ("backbone", "weights_sha256")
    }
    return [
        {"title": "Cost", "rows": cost_of(findings)},
        {"title": "Data and backbone", "rows": _lines(data | _flat(identity))},
        {"title": "Settings", "rows": _lines({key.replace("_", " "): value for key, value in run["settings"].items()})},
        {"title": "Environment", "rows": _lines(run["versions"])},
    ]


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= value if isinstance(value, dict) else {key: value}
    return flat


def _lines(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key.replace("_", " "), short(value)) for key, value in values.items()]
