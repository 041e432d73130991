"""What a command imports before it has work to do: nobody waits for PyTorch to read a help text or a mistyped word."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HEAVY = ("torch", "torchvision", "timm", "zarr", "scipy", "sklearn", "matplotlib", "dask", "distributed", "pandas")
COMMANDS = (
    "extract",
    "inspect",
    "verify",
    "score",
    "train",
    "select",
    "report",
    "predict",
    "export",
    "compare",
    "intrinsic",
    "run",
)
PROBE = """
import json, sys
from icecore.cli import main
heavy, commands = map(json.loads, sys.argv[1:])
for words in commands:
    try:
        main(words)
    except SystemExit as ended:
        print(json.dumps([ended.code, [name for name in heavy if name in sys.modules]]), file=sys.stderr)
"""


def imports_of(commands: Sequence[Sequence[object]], folder: Path) -> list[tuple[int, list[str]]]:
    """Run commands in one new process; return each one's exit code and the heavy modules imported by then."""
    words = [list(map(str, command)) for command in commands]
    given = [sys.executable, "-c", PROBE, json.dumps(HEAVY), json.dumps(words)]
    done = subprocess.run(given, cwd=folder, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("[")]
    assert len(found) == len(commands), done.stderr
    return [(code, names) for code, names in found]


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    commands = [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)]
    assert imports_of(commands, tmp_path) == [(0, [])] * len(commands)


def test_inspect_imports_nothing_heavy(store: Path, tmp_path: Path) -> None:
    assert imports_of([["inspect", store], ["inspect", store, "--json"]], tmp_path) == [(0, [])] * 2


def test_a_mistake_is_told_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    commands = [
        ["selct", "runs/photos"],
        ["train", "photos.ice", "--epoch", "3"],
        ["inspect", "photos.ice"],
        ["verify", "photos.ice"],
    ]
    for code, heavy in imports_of(commands, tmp_path):
        assert code in (1, 2)
        assert heavy == []
