"""The backbone's own eval preprocessing, in two steps: pixels for each image, normalisation for the whole batch."""

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

SLENDER = 20  # times as long as wide: resizing all of it would take up to gigabytes, for a crop that shows little


class Preprocessing:
    """Resize, crop and normalise as timm does for evaluation; picklable, and safe to call from several threads.

    `pixels` then `normalise` equals timm's own transform to the last bit, and moves a quarter of the bytes. `changes`
    are to the model's own, by timm's words: `img_size` or `input_size`, `crop_pct`, `interpolation`, `mean`, `std`; and
    `decoding`, the rules by which files become the images that `pixels` takes, None where none are recorded.
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
        """All that the pixels depend on, as JSON."""
        rules: dict[str, JsonValue] = {}
        if self.decoding is not None:
            rules["decoding"] = self.decoding.model_dump(mode="json")
        return self._config | rules

    @property
    def resize_size(self) -> tuple[int, int]:
        """Height and width of what is resized before the border is cropped away."""
        height, width = self.input_size[1:]
        share = float(str(self._config["crop_pct"]))
        return math.floor(height / share), math.floor(width / share)

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 y x"]:
        """Return what the backbone takes for an RGB image."""
        return self.normalise(self.pixels(image)[None])[0]

    def pixels(self, image: Image.Image) -> UInt8[Tensor, "3 y x"]:
        """Return the resized and cropped RGB image.

        Of an image more than 20 times as long as wide only the part that is kept is resized: other than timm's by
        rounding, and by the pixels outside of the crop that its outermost ones would have been mixed with.
        """
        is_slender = self._cuts and max(image.size) > SLENDER * min(image.size)
        return pil_to_tensor(self._middle(image)) if is_slender else self._resize(image)

    def share_kept(self, width: int, height: int) -> float:
        """Return how much of an image's area the crop keeps, 0 to 1."""
        if not self._cuts:
            return 1.0
        crop = self.input_size[2], self.input_size[1]
        resized = _resized((width, height), self._resized_to)
        return math.prod(min(1.0, part / whole) for part, whole in zip(crop, resized, strict=True))

    @property
    def _resized_to(self) -> tuple[int, int]:
        """Width and height that the shorter side is resized to."""
        height, width = self.resize_size
        return width, height

    @property
    def _cuts(self) -> bool:
        """Whether the shorter side is resized, and what the longer one has beyond the crop is cut away."""
        return self._config["crop_mode"] == "center"

    def _middle(self, image: Image.Image) -> Image.Image:
        """Resize what the crop keeps of an image, and nothing else."""
        crop = self.input_size[2], self.input_size[1]
        resized = _resized(image.size, self._resized_to)
        starts = [round((whole - part) / 2) for whole, part in zip(resized, crop, strict=True)]
        ends = [start + part for start, part in zip(starts, crop, strict=True)]
        scale = [whole / size for whole, size in zip(resized, image.size, strict=True)] * 2
        box = [place / one for place, one in zip((*starts, *ends), scale, strict=True)]
        resample = str_to_pil_interp(str(self._config["interpolation"]))
        return image.resize(crop, resample, box=(box[0], box[1], box[2], box[3]))

    def normalise(self, pixels: UInt8[Tensor, "batch 3 y x"]) -> Float[Tensor, "batch 3 y x"]:
        """Return pixels scaled to 0..1, minus the mean, divided by the standard deviation, in float32."""
        mean, std = self._mean.to(pixels.device), self._std.to(pixels.device)
        return pixels.float().div_(255).sub_(mean).div_(std)


def _resized(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Return width and height once the side that is shorter by the target's shape has the target's length."""
    scale = max(wanted / side for wanted, side in zip(target, size, strict=True))
    return max(target[0], int(size[0] * scale)), max(target[1], int(size[1] * scale))


def _plain(value: object) -> JsonValue:
    """Return a configuration value as JSON would give it back."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
