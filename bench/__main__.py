"""Runs every benchmark in turn and writes bench/results.json and bench/results.md.

python bench [--quick] [--device cuda] [NAME ...]
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Figure, parser

HERE = Path(__file__).parent
NOT_SCRIPTS = {"__main__", "against_full", "backbone_pass", "harness", "synthetic"}


def measure(name: str, options: list[str]) -> list[Figure] | None:
    """Run one script in a process of its own; None where it failed."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", out.name, *options]
        if subprocess.run(command).returncode:
            return None
        return [Figure(**figure) for figure in json.loads(Path(out.name).read_text())]


def table(results: dict[str, list[Figure] | None]) -> str:
    """Return the figures as Markdown."""
    lines = ["| benchmark | figure | measured | target | |", "|---|---|---|---|---|"]
    for name, figures in results.items():
        if figures is None:
            lines.append(f"| {name} | failed | | | |")
        for figure in figures or []:
            verdict = ("reached" if figure.reached else "missed") if figure.target else ""
            lines.append(f"| {name} | {figure.what} | {figure.value:.4g} | {figure.target} | {verdict} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run what was asked for; the exit code says whether every script ran."""
    options = parser(__doc__)
    options.add_argument("names", nargs="*", help="scripts; all of them if none is named")
    asked = options.parse_args()
    names = asked.names or sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_SCRIPTS)
    passed_on = [*(["--quick"] if asked.quick else []), "--device", asked.device]
    results: dict[str, list[Figure] | None] = {}
    for name in names:
        print(f"== {name}", flush=True)
        results[name] = measure(name, passed_on)
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    figures = {name: found and [figure.__dict__ for figure in found] for name, found in results.items()}
    (HERE / "results.json").write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")
    (HERE / "results.md").write_text(table(results))
    return int(any(found is None for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
