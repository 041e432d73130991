"""The stages of a pipeline, one after another; each looks at what is on disk first and skips what is up to date.

What is up to date is a matter of contents alone: the settings of the stage, and digests of what it reads. The times of
files have no say, nor has what else is in the file of pipelines.
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
    """Extract what the store lacks; the store itself knows what that is, and refuses another identity."""
    from icecore.extract import extract

    with extract_progress() as progress:
        report = extract(plan.pipeline.source, plan.pipeline.store, plan.extract, progress, print_splits)
    done = report.num_skipped == report.num_rows
    return f"{UP_TO_DATE}, {report.num_rows} rows" if done else extracted(report)


def train_stage(plan: Plan) -> str:
    """Train unless RUN was trained by the same settings on all that the store has for them."""
    from icecore.train import is_current, open_run, train

    pipeline = plan.pipeline
    if (Path(pipeline.run) / "run.json").is_file() and is_current(pipeline.run, pipeline.store, plan.train):
        return f"{UP_TO_DATE}, {open_run(pipeline.run).facts['cost']['num_adapters']} adapters"
    with train_progress() as progress:
        run = train(pipeline.store, pipeline.run, plan.train, progress)
    write_metrics(pipeline.run)
    return trained(run.facts)


def select_stage(plan: Plan) -> str:
    """Select unless RUN holds the choice of the same settings among what it holds now."""
    from icecore.train import is_choice_current, select

    run = plan.pipeline.run
    if is_choice_current(run, plan.select):
        return UP_TO_DATE
    with notes().status("select: reading the test split"):
        select(run, plan.select)
    write_metrics(run)
    return "chosen on validation, then measured on the test split"


def report_stage(plan: Plan) -> str:
    """Write the page unless the one that is there tells of the same."""
    from ..report.page import is_current, write_report

    run = Path(plan.pipeline.run)
    return UP_TO_DATE if is_current(run) else str(write_report([run]))


STAGES: dict[str, Callable[[Plan], str]] = {
    "extract": extract_stage,
    "train": train_stage,
    "select": select_stage,
    "report": report_stage,
}
