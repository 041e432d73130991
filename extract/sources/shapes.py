"""The source `shapes:`, synthetic images of shapes to count or to locate; it needs no files."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from PIL import Image

from icecore.store import Sample, UsageError, choose

from ..decoding.rules import DEFAULT as RULES
from ..decoding.rules import Decoding
from ..files.tally import Tally
from ..labels.columns import DEFAULT, Columns

SIDE = 64  # pixels
TEST_EVERY = 5  # no task has a multiple of 5 classes, so that every class is in both splits
NUM_IMAGES = 1000
MOST_IMAGES = 1_000_000

Offsets = Int64[np.ndarray, "#height #width"]
Mask = Bool[np.ndarray, "height width"]
KINDS: dict[
    str, Callable[[Offsets, Offsets, int], Mask]
] = {  # integer arithmetic gives the same pixels on every machine
    "disc": lambda dy, dx, radius: dy**2 + dx**2 <= radius**2,
    "square": lambda dy, dx, radius: 8 * np.maximum(abs(dy), abs(dx)) <= 7 * radius,
    "triangle": lambda dy, dx, radius: (abs(dy) <= radius) & (2 * abs(dx) <= dy + radius),
    "cross": lambda dy, dx, radius: (
        (3 * np.minimum(abs(dy), abs(dx)) <= radius) & (np.maximum(abs(dy), abs(dx)) <= radius)
    ),
}
CORNERS = ("top left", "top right", "bottom left", "bottom right")


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape of an image, in pixels."""

    kind: str
    y: int
    x: int
    radius: int


def count(label: int, rng: np.random.Generator) -> list[Shape]:
    """Return `label + 1` shapes of random kinds, each in its own cell of a 4 x 4 grid."""
    cells = rng.choice(16, label + 1, replace=False).tolist()
    names = rng.choice(list(KINDS), label + 1).tolist()
    places = [(16 * (cell // 4) + 8, 16 * (cell % 4) + 8) for cell in cells]
    return [_jittered(rng, name, y, x, 2, (4, 6)) for name, (y, x) in zip(names, places, strict=True)]


def place(label: int, rng: np.random.Generator) -> list[Shape]:
    """Return one shape; `label` gives its kind and the quarter of the image where it lies."""
    corner, kind = label % 4, list(KINDS)[label // 4]
    return [_jittered(rng, kind, 32 * (corner // 2) + 16, 32 * (corner % 2) + 16, 8, (5, 8))]


TASKS: dict[str, tuple[tuple[str, ...], Callable[[int, np.random.Generator], list[Shape]]]] = {
    "count": (tuple(map(str, range(1, 7))), count),
    "place": (tuple(f"{kind} {corner}" for kind in KINDS for corner in CORNERS), place),
}


class ShapesSource:
    """`shapes:TASK` or `shapes:TASK:NUM`: bright shapes on a dark noisy ground, 64 x 64 pixels; every fifth is test.

    An image depends on the task and its row alone. Its source bytes are its RGB values.
    """

    kind = "shapes"

    def __init__(self, path: str, _columns: Columns = DEFAULT) -> None:
        self.tally = Tally()
        task, _, num = path.partition(":")
        self.classes, self._shapes = choose(TASKS, task, "shapes task")
        self.samples = tuple(self._sample(row) for row in range(_num_images(path, num)))

    @staticmethod
    def recognises(path: Path) -> bool:
        """Return False: these images have no path."""
        return False

    def read(self, row: int) -> bytes:
        """Draw one image and return its RGB values, one byte a channel, row by row."""
        rng = np.random.default_rng([len(self.classes), row])
        return _draw(self._shapes(row % len(self.classes), rng), rng).tobytes()

    def decode(self, data: bytes, _rules: Decoding | None = RULES) -> Image.Image:
        """Return the RGB values as an image."""
        if len(data) != 3 * SIDE * SIDE:
            raise ValueError(f"{len(data)} bytes, expected {SIDE} x {SIDE} x 3")
        return Image.frombytes("RGB", (SIDE, SIDE), data)

    def _sample(self, row: int) -> Sample:
        split = "test" if row % TEST_EVERY == TEST_EVERY - 1 else "train"
        return Sample(f"{split}/{row:06d}", row % len(self.classes), split, width=SIDE, height=SIDE)


def _num_images(path: str, num: str) -> int:
    if not num and not path.endswith(":"):
        return NUM_IMAGES
    if not re.fullmatch(r"[1-9]\d{0,6}", num) or int(num) > MOST_IMAGES:
        raise UsageError(f"source 'shapes:{path}': {num!r} is no number of images; expected 1 to {MOST_IMAGES}")
    return int(num)


def _jittered(rng: np.random.Generator, kind: str, y: int, x: int, jitter: int, radius: tuple[int, int]) -> Shape:
    dy, dx = rng.integers(-jitter, jitter, 2, endpoint=True).tolist()
    return Shape(kind, y + dy, x + dx, int(rng.integers(*radius, endpoint=True)))


def _draw(shapes: list[Shape], rng: np.random.Generator) -> UInt8[np.ndarray, "64 64 3"]:
    pixels = rng.integers(0, 90, 3) + rng.integers(0, 40, (SIDE, SIDE, 3))
    y, x = np.ogrid[:SIDE, :SIDE]
    for shape in shapes:
        pixels[KINDS[shape.kind](y - shape.y, x - shape.x, shape.radius)] = rng.integers(140, 256, 3)
    return pixels.astype(np.uint8)
