"""`icecore run`: a named pipeline from images to report."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..show.chart import print_chart
from ..show.interrupt import interruptible
from ..show.outcome import read_outcome
from ..show.terminal import notes, print_facts, print_json, print_line, print_table
from ..show.wording import duration

if TYPE_CHECKING:
    from ..pipeline.plan import Plan

DEFAULT_FILE = Path("pipelines.yaml")


def run(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names of pipelines in FILE, run in this order.")
    ],
    file: Annotated[
        Path, typer.Option("-f", "--file", metavar="FILE", help="YAML file of named pipelines.")
    ] = DEFAULT_FILE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the selection of each pipeline as JSON instead of tables.")
    ] = False,
) -> None:
    """Extract, train, select and report for each named pipeline, skipping stages that are up to date.

    Example: icecore run demo -f pipelines.yaml
    """
    with interruptible("what is finished is kept: the same command goes on"):
        from ..pipeline.plan import make_plan

        plans = [make_plan(file, name) for name in names]
        for name, plan in zip(names, plans, strict=True):
            notes().print(f"\n{name}: {plan.pipeline.source}", markup=False)
            _run_stages(plan)
            if as_json:
                print_json(read_outcome(Path(plan.pipeline.run)).as_json())
            else:
                _print_outcome(Path(plan.pipeline.run), plan.extract.backbone)


def _run_stages(plan: "Plan") -> None:
    """Run every stage and say in a line what it did and how long that took."""
    from ..pipeline.stages import STAGES

    for name, stage in STAGES.items():
        begin = time.perf_counter()
        done = stage(plan)
        notes().print(f"{name:<8} {duration(time.perf_counter() - begin):>7}   {done}", markup=False)


def _print_outcome(folder: Path, backbone: str) -> None:
    outcome = read_outcome(folder)
    rows, chosen = outcome.table()
    print_line(f"\n{outcome.measure} in per cent, by layer and adapter (* selected)\n")
    print_table(["layer", *outcome.families], rows, chosen)
    print_chart(outcome.families, outcome.accuracies())
    print_line("")
    print_facts([*outcome.facts(), ("bundle", f"{folder}/bundle"), ("report", f"{folder}/report.html")])
    print_line(f"\nNext: icecore predict {folder}/bundle IMAGE")
    print_line(f"Your own images, a folder a class: icecore extract folder:IMAGES my.ice --backbone {backbone}")
