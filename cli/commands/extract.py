"""`icecore extract`: stage one from the command line."""

import dataclasses
from typing import Annotated, Any

import typer

from ..options.augmentation import read_augmentation
from ..options.settings import require_effect, settings_of
from ..options.shared_options import AS_JSON, BATCH_SIZE, COMPUTE_DTYPE, DEVICE
from ..options.source_options import with_source_options
from ..show.interrupt import interruptible, stopping
from ..show.preflight import print_preflight
from ..show.progress import extract_progress
from ..show.source_lines import passed_lines, print_splits
from ..show.terminal import print_facts, print_json, print_line
from ..show.wording import extracted


@with_source_options
def extract(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The images: KIND:PATH, or a PATH whose kind is recognised.")
    ],
    store: Annotated[
        str,
        typer.Argument(metavar="STORE", help="The store to create or to continue: a local path or an fsspec URL."),
    ],
    backbone: Annotated[
        str, typer.Option(metavar="NAME", help="Backbone: a timm model, hf-hub:OWNER/NAME, or icecore_nano.")
    ],
    checkpoint: Annotated[
        str | None, typer.Option(metavar="FILE", help="File of the backbone's weights; without it, timm's pretrained.")
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="all|0,3,6-12|sum",
            help="Layers to store: all; numbers (0: input of the first block, k: output of block k); or sum, "
            "layers 1 to the last added up.",
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            metavar="all|cls|pool:K",
            help="Tokens to store of each layer: all; cls, the class token; or pool:K, the class token and the "
            "patches averaged over squares of K x K.",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Number type in the store: int8, int4, float16, bfloat16 or float32."),
    ] = None,
    compute_dtype: Annotated[str | None, COMPUTE_DTYPE] = None,
    views: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of views stored of each image: the plain one and N - 1 augmented ones."),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|rand",
            help="Augmentation of the views after the first, with --views above 1: rand (crop, flip, RandAugment), or "
            "a YAML or JSON file with a list of torchvision transforms.",
        ),
    ] = None,
    batch_size: Annotated[int | None, BATCH_SIZE] = None,
    device: Annotated[str | None, DEVICE] = None,
    strict: Annotated[
        bool | None,
        typer.Option(
            "--strict", help="Stop at the first image that cannot be decoded, instead of recording a failed image."
        ),
    ] = None,
    retry_failed: Annotated[
        bool | None,
        typer.Option("--retry-failed", help="Decode again the images that STORE has recorded as failed."),
    ] = None,
    shard_rows: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of images in a shard, the unit of resuming; without it, from the bytes of an image.",
        ),
    ] = None,
    num_threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of threads that decode images and, on a CPU, of batches run at once; without it, one for "
            "each core (at most 4 batches).",
        ),
    ] = None,
    stream_blocks: Annotated[
        bool | None,
        typer.Option(
            "--stream-blocks",
            help="Read the weights of one transformer block at a time, for a backbone larger than memory; needs "
            "--checkpoint FILE.safetensors.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of processes of this machine that extract; without it, this one alone."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers extract, such as tcp://host:8786."),
    ] = None,
    compressor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Lossless compression of the store: zstd, blosc or gzip (saves at most 12 %); without it, none.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the bytes and the time that the extraction needs; write nothing.")
    ] = False,
    as_json: Annotated[bool, AS_JSON] = False,
    **of_source: Any,
) -> None:
    """Run a frozen backbone once over the images of SOURCE and write the tokens of its layers to STORE.

    SOURCE is folder:PATH, imagefolder:PATH, parquet:PATH, wds:PATH (WebDataset), csv:PATH or timm:NAME; or
    sklearn:digits or shapes:count, which need no files; or a bare PATH.

    An interrupted extraction continues where it stopped when the same command is run again.

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
