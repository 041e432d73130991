"""The values of the template run.html: everything that the page shows of one run."""

from typing import Any

from icecore.store import IcecoreError, Store

from ..show.wording import duration, percent, short, size
from .commands import commands
from .cost import cost_of
from .figures.accuracy import accuracy_by_layer
from .figures.agreement import agreement
from .figures.confusion import confusion
from .figures.curves import learning_curves
from .figures.gaze import gaze
from .figures.kept import kept_shares
from .figures.tradeoff import tradeoff
from .findings import Findings
from .mistakes import mistakes
from .pictures import pictures
from .tables import by_layer, members, sweep


def article(findings: Findings, name: str) -> dict[str, Any]:
    """Return the template's values; `name` is unique on the page and prefixes the identifiers of the run's figures."""
    store = _store(findings)
    look = pictures(store)
    found = None if isinstance(look, str) else look
    return {
        "name": name.replace(" ", "-"),
        "findings": findings,
        "run": findings.run,
        "selection": findings.selection,
        "headline": headline(findings),
        "facts": _facts(findings),
        "accuracy": accuracy_by_layer(findings, name),
        "by_layer": by_layer(findings),
        "members": members(findings) if findings.selection else [],
        "kept": kept_shares(findings, store),
        "sweeps": [sweep(findings, family) for family in findings.families],
        "num_seeds": len({each.seed for each in findings.trained}),
        "adapters": sorted(findings.trained, key=lambda each: each.rank),
        "curves": learning_curves(findings, name),
        "agreement": agreement(findings, store, name),
        "tradeoff": tradeoff(findings, store, name),
        "cost": cost_of(findings, store),
        "confusion": confusion(findings, name),
        "mistakes": mistakes(findings, found),
        "no_pictures": look if isinstance(look, str) else None,
        "gaze": gaze(findings, store, found),
        "commands": commands(findings, store),
        "sections": _sections(findings),
    }


def headline(findings: Findings) -> str:
    """Return the selection in a few words; before `select`, the best adapter on validation."""
    members, leader = len(findings.chosen), findings.leader
    if members > 1:
        return f"An ensemble of {members} adapters"
    if leader.score is None:
        return "No adapter finished its training"
    if len(leader.layers) > 1:
        return f"{leader.adapter} on {len(leader.layers)} layers"
    return f"Layer {max(leader.layers)} with {leader.adapter}"


def _store(findings: Findings) -> Store | None:
    """Open the run's store; None if it cannot be read or no longer holds the rows that the run was trained on."""
    from icecore.train.runs import open_run_store

    try:
        return open_run_store(findings.opened)
    except (IcecoreError, OSError):
        return None


def _facts(findings: Findings) -> list[dict[str, str]]:
    selection = findings.selection or {}
    facts = [_split_fact(findings, split) for split in ("test", "validation") if selection.get(split)]
    if not facts:
        best = percent(findings.leader.score)
        facts.append({"name": f"validation {findings.measure}", "value": f"{best} %", "note": "best of the sweep"})
    if honest := selection.get("honest"):
        note = f"{honest['num_choices']} choices made again, on rows that they did not see"
        facts.append({"name": "validation, unseen", "value": f"{percent(honest['score'])} %", "note": note})
    cost = findings.run["cost"]
    note = f"{duration(cost['elapsed_seconds'])}, {size(cost['bytes_read'])} read"
    return [*facts, {"name": "adapters trained", "value": str(len(findings.trained)), "note": note}]


def _split_fact(findings: Findings, split: str) -> dict[str, str]:
    assert findings.selection is not None
    result = findings.selection[split]
    note = f"{percent(result['low'])} to {percent(result['high'])}, {result['num_rows']} rows"
    return {"name": f"{split} {findings.measure}", "value": f"{percent(result['score'])} %", "note": note}


def _sections(findings: Findings) -> list[dict[str, Any]]:
    run = findings.run
    data = {
        "store": run["store"],
        "identity, SHA-256": run["identity_sha256"],
        "backbone": run["backbone"]["name"],
        "weights, SHA-256": run["backbone"]["weights_sha256"],
        "checkpoint": run["backbone"]["checkpoint"],
        "classes": len(run["classes"]),
        "validation": f"{run['validation']['how']}, {run['validation']['num_rows']} rows",
        "validation rows, SHA-256": run["validation"]["rows_sha256"],
    }
    identity = {key: value for key, value in run["identity"].items() if key not in ("backbone", "weights_sha256")}
    return [
        {"title": "Data and backbone", "rows": _lines(data | _flat(identity))},
        {"title": "Settings", "rows": _lines(run["settings"])},
        {"title": "Environment", "rows": _lines(run["versions"])},
    ]


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= value if isinstance(value, dict) else {key: value}
    return flat


def _lines(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key.replace("_", " "), short(value)) for key, value in values.items()]
