"""Named pipelines from a YAML file: source, store, run folder, and a block of settings for each stage."""

import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from icecore.store import Frozen, UsageError

from ..options.settings import nearest, parse_settings

VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class Pipeline(Frozen):
    """One named pipeline. The blocks of the stages are unparsed: `make_plan` parses each with its own model."""

    source: str
    store: str
    run: str
    extract: dict[str, Any]
    train: dict[str, Any] = Field(default_factory=dict)
    select: dict[str, Any] = Field(default_factory=dict)


def load_pipeline(path: Path, name: str) -> Pipeline:
    """Read one pipeline of a YAML file, with environment variables replaced by their values.

    Raises:
        UsageError: the file is missing or not YAML, has no pipeline of that name or an unknown key, or a variable is
            not set.
    """
    pipelines = _read(path)
    if name not in pipelines:
        raise UsageError(f"{path}: no pipeline {name!r}{nearest(name, map(str, pipelines))}")
    block = pipelines[name]
    if not isinstance(block, dict):
        raise UsageError(f"{path}: {name}: expected keys and values, got {block!r}")
    return parse_settings(Pipeline, _expand(block, f"{path}: {name}"), lambda key: f"{path}: {name}.{key}")


def _read(path: Path) -> dict[str, Any]:
    try:
        pipelines = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no file {str(path)!r}: name one with -f, or start in the folder that has it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(pipelines, dict):
        raise UsageError(f"{path}: expected pipelines by name, got {pipelines!r}")
    return pipelines


def _expand(value: Any, where: str) -> Any:
    """Replace ${NAME} and ${NAME:-default} in every text of `value`; `where` names it in errors."""
    if isinstance(value, dict):
        return {key: _expand(each, f"{where}.{key}") for key, each in value.items()}
    return VARIABLE.sub(lambda match: _variable(match, where), value) if isinstance(value, str) else value


def _variable(match: re.Match[str], where: str) -> str:
    name, default = match.groups()
    value = os.environ.get(name, default)
    if value is None:
        raise UsageError(f"{where}: environment variable {name} is not set; set it or write ${{{name}:-default}}")
    return value
