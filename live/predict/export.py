"""Export of a bundle for use without icecore: an ONNX file, a torch.export program, or a folder for a model hub.

Each holds the backbone up to the deepest layer in use and the adapters, in float32, and takes a batch of any number of
normalised images. An export is loaded again and compared with the bundle, on other batch sizes than it was traced with,
before it appears.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icecore.store import Frozen, IcecoreError, UsageError, choose, write_atomic
from icecore.train import load_bundle
from icecore.train.selection import BUNDLE_FILES

from ..versions import versions
from .predictor import Predictor
from .program import Program

TOLERANCE = 1e-3  # of a prediction
PROGRAM = "model.pt2"
WEIGHTS = ".data"  # what the name of a large ONNX file's weights, which lie beside it, ends in
NUM_TRACED, NUM_CHECKED = 2, (1, 3)  # images at once; a trace of one image would hold for one alone

Images = Float[Tensor, "batch 3 y x"]
Run = Callable[[Images], Float[Tensor, "batch outputs"]]
Write = Callable[[Program, Images, Path, Path], Run]


class Exported(Frozen):
    """A written export, and its largest difference from the bundle on random images.

    The difference is of probabilities; for a regression, in standard deviations of the target.
    """

    path: str
    format: str
    input_size: tuple[int, int, int]
    largest_difference: float


def export(bundle: str, out: str, format: str, checkpoint: str | None = None) -> Exported:
    """Write a bundle as `onnx` or `torch` (one file), or `hub` (a folder with a card, the bundle and the program).

    The export appears at `out` once its predictions are within TOLERANCE of the bundle's.

    Raises:
        IcecoreError: the backbone cannot be traced, or predictions differ by more than TOLERANCE; nothing is left.
        UsageError: an unknown format, an `out` that exists, lacks its folder or has a wrong ending, a missing library.
    """
    write, place = choose(FORMATS, format, "export format"), Path(out)
    _require_place(place, format)
    predictor = Predictor(bundle, checkpoint, device="cpu", compute_dtype="float32")
    size = predictor.backbone.transform.input_size
    (opened,) = predictor.bundles.values()
    program = Program(predictor.backbone, opened).eval()
    with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as unfinished:
        difference = _written(write, program, Path(unfinished) / place.name, opened.document.folder, size)
        if not difference <= TOLERANCE:
            raise IcecoreError(f"{out}: differs from {bundle} by {difference:.3g}, more than {TOLERANCE}; not kept")
        for made in Path(unfinished).iterdir():  # beside a large ONNX file lies one with its weights
            made.rename(place.parent / made.name)
    return Exported(path=out, format=format, input_size=size, largest_difference=difference)


def _require_place(out: Path, format: str) -> None:
    """Raise UsageError where `out` cannot be created, before anything is loaded."""
    for path in (out, *([out.with_name(out.name + WEIGHTS)] if format == "onnx" else [])):
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path}: is there already; remove it or choose another OUT")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: there is no folder {str(out.parent)!r}; make it or choose another OUT")
    ending = ENDINGS.get(format)
    if (ending is None and out.suffix in ENDINGS.values()) or (ending is not None and out.suffix != ending):
        expected = f"a file that ends in {ending}" if ending else "a folder"
        raise UsageError(f"{out}: format {format!r} is {expected}; choose another OUT or --format")


@torch.no_grad()
def _written(write: Write, program: Program, out: Path, bundle: Path, size: tuple[int, int, int]) -> float:
    """Write an export and load it again; return its largest difference from the program."""
    generator = torch.Generator().manual_seed(0)
    run = write(program, torch.randn(NUM_TRACED, *size, generator=generator), out, bundle)
    some = [torch.randn(num, *size, generator=generator) for num in NUM_CHECKED]
    unit = program.target.standardised  # a difference means the same whatever the data set's unit is
    return max(float((unit(run(images)) - unit(program(images))).abs().max()) for images in some)


def _write_torch(program: Program, images: Images, out: Path, _: Path) -> Run:
    with out.open("wb") as file:
        torch.export.save(_traced(program, images), file)
    return load_program(str(out))


def load_program(path: str) -> Run:
    """Load a torch.export program, a function from normalised images to predictions."""
    with Path(path).open("rb") as file:
        return torch.export.load(file).module()


def _traced(program: Program, images: Images) -> torch.export.ExportedProgram:
    """Trace a program for any batch size; IcecoreError where that is not possible."""
    shapes = ({0: torch.export.Dim("batch")},)
    try:
        with torch.no_grad():
            return torch.export.export(program, (images,), dynamic_shapes=shapes, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise IcecoreError(f"{program.name}: cannot be traced for any number of images ({reason})") from None


def _write_onnx(program: Program, images: Images, out: Path, _: Path) -> Run:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  what torch.onnx needs, and would fail late without
    except ImportError as error:
        raise UsageError(f"format 'onnx': {error.name} is not installed; pip install 'icecore[export]'") from None
    made: Any = torch.onnx.export(
        _traced(program, images),
        (images,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["predictions"],
    )
    made.save(str(out))
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    return lambda given: torch.from_numpy(session.run(None, {"images": given.numpy()})[0])


def _write_hub(program: Program, images: Images, out: Path, bundle: Path) -> Run:
    """Write the bundle (for `icecore predict`), the program (which needs PyTorch alone) and a model card."""
    out.mkdir()
    for name in BUNDLE_FILES:
        shutil.copy(bundle / name, out / name)
    facts = load_bundle(str(out)).facts
    config = {
        "library_name": "icecore",
        "backbone": facts.backbone,
        "preprocessing": facts.preprocessing,
        "classes": facts.classes,
        "target": facts.target,
        "program": {"file": PROGRAM, "input": "normalised images, any number", "versions": versions()},
    }
    write_atomic(f"{out}/config.json", json.dumps(config, indent=2).encode())
    card = (out / "README.md").read_text(encoding="utf-8")
    write_atomic(f"{out}/README.md", (_front_matter(str(facts.backbone["name"])) + card).encode())
    return _write_torch(program, images, out / PROGRAM, bundle)


def _front_matter(backbone: str) -> str:
    lines = ["library_name: icecore", "pipeline_tag: image-classification", f"base_model: timm/{backbone}"]
    return "---\n" + "\n".join([*lines, "tags:", "- icecore", "- timm"]) + "\n---\n\n"


FORMATS: dict[str, Write] = {
    "onnx": _write_onnx,
    "torch": _write_torch,
    "hub": _write_hub,
}
ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}  # a folder for a hub has none
