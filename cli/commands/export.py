"""`icecore export`: a bundle for those who do not have this library."""

from typing import Annotated

import typer

from ..show.terminal import notes, print_json, print_line


def export(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="RUN/bundle, as `icecore select` leaves it.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="The file, or for hub the folder, to make.")],
    format: Annotated[str, typer.Option(metavar="NAME", help="onnx, torch (torch.export), or hub.")] = "torch",
    checkpoint: Annotated[str | None, typer.Option(metavar="FILE", help="The backbone's weights.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For another program.")] = False,
) -> None:
    """Write backbone and adapters of BUNDLE as one program, load it again, and see that it says the same.

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
