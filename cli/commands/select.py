"""`icecore select`: choose on validation, read the test split once."""

from pathlib import Path
from typing import Annotated

import typer

from ..options.settings import settings_of
from ..options.shared_options import AS_JSON, DEVICE
from ..show.metrics import write_metrics
from ..show.outcome import read_outcome
from ..show.terminal import notes, print_facts, print_json


def select(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of results that `icecore train` wrote.")],
    selector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Selection method: best (one adapter), average, greedy, stacking, lasso or bagged."
        ),
    ] = None,
    one_standard_error: Annotated[
        bool | None,
        typer.Option(
            help="With --selector best: take the shallowest and smallest adapter whose loss is within one standard "
            "error of the lowest."
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(metavar="K", help="With --selector average: largest number of adapters in the ensemble"),
    ] = None,
    max_layer: Annotated[
        int | None, typer.Option(metavar="K", help="Deepest layer that a chosen adapter may read; without it, any")
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Largest cost of a prediction, as a share of the whole backbone's multiply-adds; without it, any",
        ),
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Confidence level of the bootstrap intervals")
    ] = None,
    num_resamples: Annotated[
        int | None, typer.Option(metavar="N", help="Number of bootstrap resamples for each interval")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of the bootstrap and of the selector")] = None,
    device: Annotated[str | None, DEVICE] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Choose among the adapters of RUN by validation, measure the choice once on the test split, write RUN/bundle.

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
