"""`icecore export`: a bundle for those who do not have this library."""

from typing import Annotated

import typer

from ..options.shared_options import AS_JSON, BUNDLE_CHECKPOINT
from ..show.terminal import notes, print_json, print_line


def export(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="RUN/bundle of `icecore select`.")],
    out: Annotated[
        str,
        typer.Argument(metavar="OUT", help="What to create: FILE.onnx, FILE.pt2, or for --format hub a folder."),
    ],
    format: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Format: torch (torch.export), onnx, or hub (a folder with card, bundle and program)."
        ),
    ] = "torch",
    checkpoint: Annotated[str | None, BUNDLE_CHECKPOINT] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Export the backbone and the adapters of BUNDLE as one program, and check its predictions against the bundle's.

    Example: icecore export runs/photos/bundle photos.onnx --format onnx
    """
    from icecore.live import export as run_export

    with notes().status(f"export: tracing {bundle}"):
        made = run_export(bundle, out, format, checkpoint)
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        shape = " x ".join(map(str, made.input_size))
        facts = f"{made.format}, any number of images {shape}"
        print_line(f"{out}: {facts}, at most {made.largest_difference:.1e} from the bundle")
