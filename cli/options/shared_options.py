"""Options that several commands have, each with one help text."""

import typer

STORE = typer.Argument(metavar="STORE", help="The store to read: a local path, or an fsspec URL such as s3://a/b.ice.")
DEVICE = typer.Option(
    metavar="NAME", help="Device that computes: cpu, cuda, cuda:1, mps, or auto (CUDA if present, else MPS, else CPU)."
)
COMPUTE_DTYPE = typer.Option(
    metavar="NAME",
    help="Number type of matrix products; auto is bfloat16 on devices with native bfloat16 products, else float32.",
)
BATCH_SIZE = typer.Option(metavar="N", help="Number of images in one forward pass.")
CHECKPOINT = typer.Option(
    metavar="FILE", help="File of the backbone's weights; without it, the weights that the store was extracted with."
)
AS_JSON = typer.Option("--json", help="Print the result as JSON instead of text.")
BUNDLE_CHECKPOINT = typer.Option(
    metavar="FILE", help="File of the backbone's weights; without it, the weights that BUNDLE names."
)
BACKBONE = typer.Option(
    metavar="NAME",
    help="Backbone of a SOURCE: a timm model, hf-hub:OWNER/NAME, or icecore_nano; without it, the one of STORE.",
)
LR = typer.Option(metavar="X,Y", help="Learning rates to try, best by validation; without it, each method's own.")
EPOCHS = typer.Option(metavar="N", help="Number of passes over the training images.")
