"""The transforms of `--augment`: a YAML or JSON file, or the list itself. Knows no transform by name."""

import json
from pathlib import Path

import yaml


def read_augmentation(text: str) -> str:
    """Return `rand`, or the list of transforms as JSON. Raises UsageError where a file is not there or is no list."""
    from icecore.store import UsageError

    if text == "rand" or text.lstrip().startswith("["):
        return text
    if not Path(text).is_file():
        raise UsageError(f"--augment {text!r}: no such file; expected rand, or a YAML or JSON list of transforms")
    try:
        return json.dumps(yaml.safe_load(Path(text).read_text(encoding="utf-8")))
    except (yaml.YAMLError, TypeError) as error:
        raise UsageError(f"--augment {text}: is no YAML or JSON ({' '.join(str(error).split())})") from None
