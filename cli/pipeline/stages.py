"""The stages of a pipeline. Each compares its results on disk with its settings, and does only what is missing.

A stage is up to date if its settings and the digests of its inputs are those that its results record. File times and
the other pipelines in the file do not matter. Each function returns one line about its work for the terminal.
"""

from collections.abc import Callable
from pathlib import Path

from ..show.metrics import write_metrics
from ..show.progress import extract_progress, train_progress
from ..show.source_lines import print_splits
from ..show.terminal import notes
from ..show.wording import extracted, trained
from .plan import Plan

UP_TO_DATE = "up to date"


def extract_stage(plan: Plan) -> str:
    """Extract the rows and layers that the store lacks; a store of another identity is an error."""
    from icecore.extract import extract

    with extract_progress() as progress:
        report = extract(plan.pipeline.source, plan.pipeline.store, plan.extract, progress, print_splits)
    done = report.num_skipped == report.num_rows
    return f"{UP_TO_DATE}, {report.num_rows} rows" if done else extracted(report)


def train_stage(plan: Plan) -> str:
    """Train unless RUN was trained with the same settings on the present rows and layers of the store."""
    from icecore.train import is_current, open_run, train

    pipeline = plan.pipeline
    if (Path(pipeline.run) / "run.json").is_file() and is_current(pipeline.run, pipeline.store, plan.train):
        return f"{UP_TO_DATE}, {open_run(pipeline.run).facts['cost']['num_adapters']} adapters"
    with train_progress() as progress:
        run = train(pipeline.store, pipeline.run, plan.train, progress)
    write_metrics(pipeline.run)
    return trained(run.facts)


def select_stage(plan: Plan) -> str:
    """Select unless RUN holds a selection with the same settings among its present adapters."""
    from icecore.train import is_choice_current, select

    run = plan.pipeline.run
    if is_choice_current(run, plan.select):
        return UP_TO_DATE
    with notes().status("select: reading the test split"):
        select(run, plan.select)
    write_metrics(run)
    return "chosen on validation, then measured on the test split"


def report_stage(plan: Plan) -> str:
    """Write the HTML page unless the present one was made from the present results."""
    from ..report.page import is_current, write_report

    run = Path(plan.pipeline.run)
    return UP_TO_DATE if is_current(run) else str(write_report([run]))


STAGES: dict[str, Callable[[Plan], str]] = {
    "extract": extract_stage,
    "train": train_stage,
    "select": select_stage,
    "report": report_stage,
}
