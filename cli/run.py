"""`icecore run`: a named pipeline from images to report."""

from pathlib import Path
from typing import Annotated

import typer

from .interrupt import interruptible


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A pipeline of the file.")],
    file: Annotated[Path, typer.Option("-f", "--file", metavar="FILE", help="Where pipelines are.")] = Path(
        "pipelines.yaml"
    ),
) -> None:
    """Extract, train, select and report as the pipeline NAME says, skipping what is up to date.

    Example: icecore run demo -f pipelines.yaml
    """
    from .pipelines import load_pipeline
    from .stages import run_stages
    from .summary import print_summary

    pipeline = load_pipeline(file, name)
    with interruptible("what is finished is kept: the same command goes on"):
        print_summary(pipeline.run, run_stages(pipeline))
