"""The commands that make a run again, word by word."""

import shlex
from collections.abc import Mapping
from typing import Any

from icecore.store import Store
from icecore.train import SelectSettings, TrainSettings

from .findings import Findings


def commands(findings: Findings, store: Store | None) -> list[str]:
    """Return a line for each stage, with all that differs from its defaults."""
    run, url = findings.run, findings.run["store"]
    plain, chosen = TrainSettings().model_dump(mode="json"), SelectSettings().model_dump(mode="json")
    lines = [store.spec.command] if store is not None else []
    lines.append(_line("train", [url, "--out", str(findings.path)], run["settings"], plain))
    if findings.selection:
        lines.append(_line("select", [str(findings.path)], findings.selection["settings"], chosen))
    return [*lines, f"icecore report {shlex.quote(str(findings.path))}"]


def _line(stage: str, words: list[str], settings: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    """Write a command; what no option says stands behind it as a comment."""
    given = {key: value for key, value in settings.items() if value != plain.get(key)}
    options = given.pop("options", None)
    for key, value in given.items():
        name = f"--{key.replace('_', '-')}"
        words += [name] if value is True else [f"--no-{name[2:]}"] if value is False else [name, _value(value)]
    comment = f"  # with options: {options}, in a pipelines.yaml" if options else ""
    return f"icecore {stage} {shlex.join(words)}{comment}"


def _value(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
