"""`icecore extract`: stage one from the command line."""

import dataclasses
from typing import Annotated, Any

import typer

from ..options.augmentation import read_augmentation
from ..options.settings import require_effect, settings_of
from ..options.source_options import with_source_options
from ..show.extract_progress import extract_progress
from ..show.interrupt import interruptible, stopping
from ..show.preflight import print_preflight
from ..show.source_lines import passed_lines, print_splits
from ..show.terminal import print_facts, print_json, print_line
from ..show.wording import extracted


@with_source_options
def extract(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="KIND:PATH, or a path whose kind is plain.")],
    store: Annotated[str, typer.Argument(metavar="STORE", help="To make or to go on with: a path or any fsspec URL.")],
    backbone: Annotated[str, typer.Option(metavar="NAME", help="A timm model, or hf-hub:OWNER/NAME.")],
    checkpoint: Annotated[str | None, typer.Option(metavar="FILE", help="Its weights, where not from the hub.")] = None,
    layers: Annotated[
        str | None, typer.Option(metavar="all|0,3,6-12|sum", help="The layers to keep, or their sum.")
    ] = None,
    tokens: Annotated[str | None, typer.Option(metavar="all|cls|pool:K", help="The tokens to keep.")] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="NAME", help="int8, int4, float16, bfloat16, float32: on disk.")
    ] = None,
    compute_dtype: Annotated[str | None, typer.Option(metavar="NAME", help="auto, float32 or bfloat16.")] = None,
    views: Annotated[int | None, typer.Option(metavar="N", help="Views of each image.")] = None,
    augment: Annotated[
        str | None, typer.Option(metavar="FILE|rand", help="How views after the plain are made.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="B", help="Images in one forward pass.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    strict: Annotated[bool | None, typer.Option("--strict", help="Stop at the first corrupt image.")] = None,
    retry_failed: Annotated[
        bool | None, typer.Option("--retry-failed", help="Try rows again that were recorded as failed.")
    ] = None,
    shard_rows: Annotated[int | None, typer.Option(metavar="N", help="Rows in a shard, where not by rule.")] = None,
    num_threads: Annotated[int | None, typer.Option(metavar="N", help="Threads that decode, and on a CPU run.")] = None,
    stream_blocks: Annotated[
        bool | None, typer.Option("--stream-blocks", help="Hold one block's weights at a time.")
    ] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes of this machine.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="A dask cluster: tcp://host:8786.")] = None,
    compressor: Annotated[str | None, typer.Option(metavar="NAME", help="zstd, blosc or gzip: 12 % at most.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was done, for another program.")] = False,
    **of_source: Any,
) -> None:
    """Run a frozen backbone once over SOURCE and keep the tokens of its layers in STORE.

    SOURCE is folder:, imagefolder:, parquet:, wds: (WebDataset), csv: or timm: and a path; a bare path where its kind
    is plain; sklearn:digits or shapes:count.

    Started again with the same words, it goes on where it stopped.

    Example: icecore extract folder:photos photos.ice --backbone deit_tiny_patch16_224 --dtype float16
    """
    given = locals() | of_source  # the words of the command, by name; None where the stage's own default holds
    with interruptible("finished shards are kept: the same command goes on"):
        from icecore.extract import ExtractSettings, preflight
        from icecore.extract import extract as run_extract

        given["augment"] = augment and read_augmentation(augment)
        settings = settings_of(ExtractSettings, given)
        if dry_run:
            require_effect(given, ("workers", "scheduler"), "with --dry-run, which measures one process")
            print_preflight(preflight(source, store, settings), as_json)
            return
        with stopping("shards in flight are dropped, finished ones are kept"), extract_progress() as progress:
            report = run_extract(source, store, settings, progress, print_splits)
    if as_json:
        print_json({**dataclasses.asdict(report), "source": report.source.model_dump()})
    else:
        print_line(f"{store}: {extracted(report)}")
        print_facts(passed_lines(report.source))
