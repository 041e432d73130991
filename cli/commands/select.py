"""`icecore select`: choose on validation, read the test split once."""

from pathlib import Path
from typing import Annotated

import typer

from ..options.settings import settings_of
from ..show.metrics import write_metrics
from ..show.outcome import read_outcome
from ..show.terminal import notes, print_facts, print_json


def select(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A folder made by `icecore train`.")],
    selector: Annotated[
        str | None, typer.Option(metavar="NAME", help="best, average, greedy, stacking, lasso, bagged.")
    ] = None,
    one_standard_error: Annotated[
        bool | None,
        typer.Option(help="`best`: the shallowest and smallest that is within one standard error."),
    ] = None,
    top: Annotated[int | None, typer.Option(metavar="K", help="`average`: the most members.")] = None,
    max_layer: Annotated[int | None, typer.Option(metavar="K", help="The deepest layer that may be read.")] = None,
    max_cost: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of the whole backbone's multiply-adds, at most.")
    ] = None,
    confidence: Annotated[float | None, typer.Option(metavar="SHARE", help="Of the intervals.")] = None,
    num_resamples: Annotated[
        int | None, typer.Option(metavar="N", help="Bootstrap resamples of the intervals.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the resamples.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For another program.")] = False,
) -> None:
    """Choose among the adapters of RUN by validation, read the test split once, write RUN/bundle.

    Example: icecore select runs/photos --max-layer 6
    """
    given = locals()  # the words of the command, by name; None where the stage's own default holds
    from icecore.train import SelectSettings
    from icecore.train import select as run_select

    run_select(run, settings_of(SelectSettings, given))
    write_metrics(run)
    outcome = read_outcome(Path(run))
    if outcome.num_test_reads > 1:
        notes().print(
            f"note: the test split of {run} was read {outcome.num_test_reads} times; its figures are clean only once"
        )
    if as_json:
        print_json(outcome.as_json())
    else:
        print_facts([*outcome.facts(), ("bundle", f"{run}/bundle")])
