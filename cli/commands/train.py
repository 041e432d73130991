"""`icecore train`: stage two from the command line."""

from typing import Annotated

import typer

from ..options.settings import settings_of
from ..options.shared_options import AS_JSON, COMPUTE_DTYPE, DEVICE, EPOCHS, STORE
from ..show.interrupt import interruptible
from ..show.metrics import write_metrics
from ..show.progress import train_progress
from ..show.tensorboard import TensorBoard
from ..show.terminal import print_json, print_line
from ..show.wording import trained

LOGS = {"tensorboard": TensorBoard}


def train(
    store: Annotated[str, STORE],
    out: Annotated[str, typer.Option(metavar="RUN", help="Folder of results to create or to continue.")],
    adapters: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Adapter families to train: linear, inca, open_inca, attentive, efficient, ridge, vqt, synqt, losa, "
            "lst, mist, head2toe.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="0,3,6-12",
            help="Layers of STORE to train on: all, numbers and ranges, sum, or top:K (the K layers of highest "
            "`icecore score`).",
        ),
    ] = None,
    lr: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Learning rates to try; without it, each family's own.")
    ] = None,
    weight_decay: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Weight decays to try; without it, each family's own.")
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(
            metavar="M,N",
            help="Numbers of queries to try, in families with learned queries; without it, each family's own.",
        ),
    ] = None,
    heads: Annotated[
        str | None,
        typer.Option(
            metavar="H,I",
            help="Numbers of heads to try, in families with attention heads; without it, each family's own.",
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            metavar="P,Q",
            help="Token poolings to try, in families that pool: cls (class token), mean (of the patch tokens), "
            "cls+mean; without it, each family's own.",
        ),
    ] = None,
    label_smoothing: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Label smoothing to try: the share of a label spread over all classes."),
    ] = None,
    dropout: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Dropout rates to try, before the classifier.")
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y", help="Weights of the classes in the loss to try, balanced meaning inverse to class frequency"
        ),
    ] = None,
    epochs: Annotated[int | None, EPOCHS] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Number of images in one optimiser step.")] = None,
    clip: Annotated[
        float | None,
        typer.Option(metavar="NORM", help="Clip the gradient norm of each adapter at NORM; without it, no clipping."),
    ] = None,
    halving: Annotated[
        bool | None,
        typer.Option(help="Successive halving: stop the adapters of highest validation loss early."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Number of seeds that each configuration is trained with.")
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Share of the train split held out, where STORE has no validation split"),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Number of cross-validation folds in place of one held-out part: K + 1 trainings; without it, no "
            "folds.",
        ),
    ] = None,
    shuffle_seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of the order of images and of the held-out part.")
    ] = None,
    device: Annotated[str | None, DEVICE] = None,
    compute_dtype: Annotated[str | None, COMPUTE_DTYPE] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Memory for tokens, adapters and optimisers in each process, such as 4GB or 4GiB."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of processes of this machine that train; 0: threads of this process"),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers train, such as tcp://host:8786.")
    ] = None,
    extend: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Earlier RUN whose best open_inca adapter gets the classes that STORE adds."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Classes to train, with --extend: new are those that the earlier RUN lacks"),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Log the training curves: tensorboard writes RUN/tensorboard; without it, none."
        ),
    ] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Train adapters on every chosen layer of STORE, all of them in one pass over the tokens.

    Options with several values, separated by commas, make a grid.

    Example: icecore train photos.ice --out runs/photos --adapters linear,inca --lr 1e-3,3e-3
    """
    given = locals()  # the words of the command, by name; None where the stage's own default holds
    with interruptible("what is trained is kept: the same command goes on"):
        from icecore.store import choose
        from icecore.train import TrainSettings
        from icecore.train import train as run_train

        settings = settings_of(TrainSettings, given)
        watcher = None if log is None else choose(LOGS, log, "log")(out)
        with train_progress(watcher.watch if watcher else None) as progress:
            run = run_train(store, out, settings, progress)
        if watcher:
            watcher.finish(run)
        write_metrics(out)
    if as_json:
        print_json({"run": out, **run.facts["cost"]})
    else:
        print_line(f"{out}: {trained(run.facts)}")
