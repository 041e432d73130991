"""Every example in a docstring is run, and says what it shows."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITH_EXAMPLES = [
    path
    for folder in ("store", "extract", "train", "live", "cli")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_say_what_they_show(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(("icecore", *parts[: -1 if parts[-1] == "__init__" else None])))
    monkeypatch.chdir(tmp_path)  # what an example writes, it writes here
    failed, tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert tried > 0, f"{path.name}: has examples that doctest does not find"
    assert failed == 0, f"{path.name}: {failed} of {tried} examples fail; see the output above"
