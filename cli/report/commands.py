"""The commands that reproduce a run: extract, train, select and report, with every option."""

import shlex
from collections.abc import Mapping
from typing import Any

from icecore.store import Store, option_words
from icecore.train import SelectSettings, TrainSettings

from .findings import Findings


def commands(findings: Findings, store: Store | None) -> list[str]:
    """Return a command for each stage, with the options that differ from their defaults; no extract without a store."""
    run, url = findings.run, findings.run["store"]
    plain, chosen = TrainSettings().model_dump(mode="json"), SelectSettings().model_dump(mode="json")
    lines = [store.spec.command] if store is not None else []
    lines.append(_line("train", [url, "--out", str(findings.path)], run["settings"], plain))
    if findings.selection:
        lines.append(_line("select", [str(findings.path)], findings.selection["settings"], chosen))
    return [*lines, f"icecore report {shlex.quote(str(findings.path))}"]


def _line(stage: str, words: list[str], settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return a command with the settings that differ from `defaults`; settings without an option become a comment."""
    given = {key: value for key, value in settings.items() if value != defaults.get(key)}
    options = given.pop("options", None)
    comment = f"  # with options: {options}, in a pipelines.yaml" if options else ""
    return f"icecore {stage} {shlex.join([*words, *option_words(given)])}{comment}"
