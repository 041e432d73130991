"""Write the pages of docs/reference from the code: a page for each folder's public names, and the command line."""

import importlib
from pathlib import Path

import mkdocs_gen_files
import typer
from typer.cli import get_docs_for_click

from icecore.cli.app import app

FOLDERS = {
    "store": "What is on disk, and the only code that reads or writes it.",
    "extract": "Stage one: images through a frozen backbone into a store.",
    "train": "Stage two: adapters trained from a store, and the choice among them.",
    "live": "The backbone and trained adapters together, on raw images.",
}


def write(name: str, text: str) -> None:
    """Write one generated page."""
    with mkdocs_gen_files.open(f"reference/{name}.md", "w") as page:
        page.write(text)


def home(folder: str, name: str) -> str:
    """Return where a public name is defined: a function may share its name with the module that it is in."""
    thing = getattr(importlib.import_module(f"icecore.{folder}"), name)
    module = getattr(thing, "__module__", "")
    return f"{module}.{name}" if module.startswith("icecore.") else f"icecore.{folder}.{name}"


for folder, line in FOLDERS.items():
    names = sorted(importlib.import_module(f"icecore.{folder}").__all__, key=str.lower)
    entries = "\n".join(f"::: {home(folder, name)}\n" for name in names)
    write(folder, f"# icecore.{folder}\n\n{line}\n\n{entries}")

command = typer.main.get_command(app)
text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="icecore")
write("command", text.replace("# `icecore`", "# The command", 1))

contributing = Path("CONTRIBUTING.md").read_text()
with mkdocs_gen_files.open("contributing.md", "w") as page:
    page.write(contributing.replace("](docs/", "]("))
