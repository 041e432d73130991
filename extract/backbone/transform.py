"""The backbone's own evaluation preprocessing in two steps: pixels for each image, normalisation for a batch."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import JsonValue
from timm.data.config import resolve_model_data_config
from timm.data.transforms import str_to_pil_interp
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

from ..decoding.rules import recorded_decoding

SLENDER = 20  # ratio of the sides; resizing a longer image whole may take gigabytes, for a small crop


class Preprocessing:
    """Resizes, crops and normalises as timm does for evaluation; picklable, and threads may call it.

    `pixels` then `normalise` equals timm's own transform to the last bit, and moves a quarter of the bytes between
    processes and devices.

    Args:
        model: a timm model.
        changes: to the model's own preprocessing, under timm's names: `img_size` or `input_size`, `crop_pct`,
            `interpolation`, `mean`, `std`. `decoding` holds the rules by which files become images.
    """

    def __init__(self, model: nn.Module, changes: Mapping[str, JsonValue] | None = None) -> None:
        listed = {key: tuple(value) if isinstance(value, list) else value for key, value in (changes or {}).items()}
        config = resolve_model_data_config(model, listed)
        self.input_size: tuple[int, int, int] = config["input_size"]
        self.decoding = recorded_decoding(changes or {})
        self._config: dict[str, JsonValue] = {name: _plain(value) for name, value in sorted(config.items())}
        self._resize: Any = create_transform(**config, is_training=False, normalize=False)
        self._mean = torch.tensor(config["mean"]).view(-1, 1, 1)
        self._std = torch.tensor(config["std"]).view(-1, 1, 1)

    @property
    def config(self) -> dict[str, JsonValue]:
        """All settings that the pixels depend on, as JSON."""
        rules: dict[str, JsonValue] = {}
        if self.decoding is not None:
            rules["decoding"] = self.decoding.model_dump(mode="json")
        return self._config | rules

    @property
    def resize_size(self) -> tuple[int, int]:
        """Height and width to which images are resized before the crop."""
        height, width = self.input_size[1:]
        share = float(str(self._config["crop_pct"]))
        return math.floor(height / share), math.floor(width / share)

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 y x"]:
        """Return the normalised input of the backbone for an RGB image."""
        return self.normalise(self.pixels(image)[None])[0]

    def pixels(self, image: Image.Image) -> UInt8[Tensor, "3 y x"]:
        """Return the resized and cropped RGB image, values 0 to 255.

        In an image more than 20 times as long as wide, only the part within the crop is resized. The result then
        differs from timm's by rounding, and at the border, where pixels outside of the crop are not mixed in.
        """
        is_slender = self._cuts and max(image.size) > SLENDER * min(image.size)
        return pil_to_tensor(self._middle(image)) if is_slender else self._resize(image)

    def share_kept(self, width: int, height: int) -> float:
        """Return the fraction of an image's area that the crop keeps, 0 to 1."""
        if not self._cuts:
            return 1.0
        crop = self.input_size[2], self.input_size[1]
        resized = _resized((width, height), self._resized_to)
        return math.prod(min(1.0, part / whole) for part, whole in zip(crop, resized, strict=True))

    @property
    def _resized_to(self) -> tuple[int, int]:
        """Width and height; the side that is shorter relative to them is resized to its length here."""
        height, width = self.resize_size
        return width, height

    @property
    def _cuts(self) -> bool:
        """Whether the shorter side is resized and the longer side is cropped, as timm's `crop_mode` `center` does."""
        return self._config["crop_mode"] == "center"

    def _middle(self, image: Image.Image) -> Image.Image:
        """Return the crop of an image, resized alone."""
        crop = self.input_size[2], self.input_size[1]
        resized = _resized(image.size, self._resized_to)
        starts = [round((whole - part) / 2) for whole, part in zip(resized, crop, strict=True)]
        ends = [start + part for start, part in zip(starts, crop, strict=True)]
        scale = [whole / size for whole, size in zip(resized, image.size, strict=True)] * 2
        box = [position / factor for position, factor in zip((*starts, *ends), scale, strict=True)]
        resample = str_to_pil_interp(str(self._config["interpolation"]))
        return image.resize(crop, resample, box=(box[0], box[1], box[2], box[3]))

    def normalise(self, pixels: UInt8[Tensor, "batch 3 y x"]) -> Float[Tensor, "batch 3 y x"]:
        """Return pixels scaled to 0..1, minus the mean, divided by the standard deviation, in float32."""
        mean, std = self._mean.to(pixels.device), self._std.to(pixels.device)
        return pixels.float().div_(255).sub_(mean).div_(std)


def _resized(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return width and height after resizing; the side shorter relative to the target gets the target's length."""
    scale = max(wanted / side for wanted, side in zip(target, size, strict=True))
    return max(target[0], int(size[0] * scale)), max(target[1], int(size[1] * scale))


def _plain(value: object) -> JsonValue:
    """Return a configuration value as it is after a round trip through JSON."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
