"""Makes seeded views of an image with torchvision's transforms, before the backbone's own preprocessing.

A view depends on the image, its key and the number of the view alone, not on the batch, the thread or the worker.
"""

import hashlib
import inspect
import json
import threading
from typing import Any

import torch
from PIL import Image
from pydantic import JsonValue
from torchvision.transforms import InterpolationMode, v2

from icecore.store import UsageError, choose

RAND: list[JsonValue] = [
    {"RandomResizedCrop": {"scale": [0.25, 1.0], "interpolation": "bicubic"}},
    {"RandomHorizontalFlip": {}},
    {"RandAugment": {"num_ops": 2, "magnitude": 9, "interpolation": "bilinear"}},
]
EXPECTED = 'expected rand, or a list such as [{"RandomHorizontalFlip": {"p": 0.5}}, "RandAugment"]'
_global_generator = threading.Lock()  # torchvision draws from the global generator of PyTorch, which is seeded here


def canonical_augmentation(text: str) -> str:
    """Return the transforms that `rand` or a JSON list names, as JSON in one spelling; part of the identity of a store.

    >>> canonical_augmentation('["RandomHorizontalFlip"]')
    '[{"RandomHorizontalFlip": {}}]'

    Raises:
        UsageError: the text is neither.
    """
    try:
        steps = RAND if text == "rand" else json.loads(text)
    except ValueError:
        steps = None
    if not isinstance(steps, list) or not steps:
        raise UsageError(f"augment {text!r}: cannot be read; {EXPECTED}")
    return json.dumps([{name: arguments} for name, arguments in map(_step, steps)], sort_keys=True)


class Augmentation:
    """The transforms of a list, one after another.

    Args:
        text: `rand` or a JSON list of torchvision transforms.
        size: height and width in pixels, for transforms that need an output size.

    Raises:
        UsageError: a transform is unknown or does not take its arguments, or the result is no RGB image.
    """

    def __init__(self, text: str, size: tuple[int, int]) -> None:
        self._steps = v2.Compose([_transform(*_step(step), size) for step in json.loads(canonical_augmentation(text))])
        result = self._seeded(Image.new("RGB", (size[1], size[0])), 0)
        if not isinstance(result, Image.Image) or result.mode != "RGB":
            raise UsageError(
                f"augment {text!r}: gives {type(result).__name__}; expected transforms from image to image"
            )

    def __call__(self, image: Image.Image, key: str, view: int) -> Image.Image:
        """Return view number `view` of an RGB image; threads may call it and wait for each other."""
        digest = hashlib.sha256(f"{key}\0{view}".encode()).digest()
        return self._seeded(image, int.from_bytes(digest[:8], "little"))

    def _seeded(self, image: Image.Image, seed: int) -> Any:
        with _global_generator, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self._steps(image)


def _step(step: Any) -> tuple[str, dict[str, Any]]:
    name, arguments = next(iter(step.items())) if isinstance(step, dict) and len(step) == 1 else (step, {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise UsageError(f"augment: {json.dumps(step)} is no transform with arguments; {EXPECTED}")
    return name, arguments


def _transform(name: str, arguments: dict[str, Any], size: tuple[int, int]) -> v2.Transform:
    known = {
        each: value
        for each, value in vars(v2).items()
        if inspect.isclass(value) and issubclass(value, v2.Transform) and value is not v2.Transform
    }
    kind = choose(known, name, "transform")
    if "size" in inspect.signature(kind).parameters:
        arguments = {"size": list(size), **arguments}
    if isinstance(mode := arguments.get("interpolation"), str):
        modes = {mode.value: mode for mode in InterpolationMode}
        arguments = {**arguments, "interpolation": choose(modes, mode, "interpolation")}
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"augment: {name} cannot be made of {arguments} ({error})") from None
