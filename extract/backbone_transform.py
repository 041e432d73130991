"""The backbone's own eval preprocessing, in two steps: pixels for each image, normalisation for the whole batch."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import JsonValue
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn


class Preprocessing:
    """Resize, crop and normalise as timm does for evaluation; picklable, and safe to call from several threads.

    `pixels` then `normalise` equals timm's own transform to the last bit, and moves a quarter of the bytes. `changes`
    are to the model's own, by timm's words: `img_size` or `input_size`, `crop_pct`, `interpolation`, `mean`, `std`.
    """

    def __init__(self, model: nn.Module, changes: Mapping[str, JsonValue] | None = None) -> None:
        listed = {key: tuple(value) if isinstance(value, list) else value for key, value in (changes or {}).items()}
        config = resolve_model_data_config(model, listed)
        self.input_size: tuple[int, int, int] = config["input_size"]
        self.config: dict[str, JsonValue] = {name: _plain(value) for name, value in sorted(config.items())}
        self._resize: Any = create_transform(**config, is_training=False, normalize=False)
        self._mean = torch.tensor(config["mean"]).view(-1, 1, 1)
        self._std = torch.tensor(config["std"]).view(-1, 1, 1)

    @property
    def resize_size(self) -> tuple[int, int]:
        """Height and width of what is resized before the border is cropped away."""
        height, width = self.input_size[1:]
        share = float(str(self.config["crop_pct"]))
        return math.floor(height / share), math.floor(width / share)

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 y x"]:
        """Return what the backbone takes for an RGB image."""
        return self.normalise(self.pixels(image)[None])[0]

    def pixels(self, image: Image.Image) -> UInt8[Tensor, "3 y x"]:
        """Return the resized and cropped RGB image."""
        return self._resize(image)

    def normalise(self, pixels: UInt8[Tensor, "batch 3 y x"]) -> Float[Tensor, "batch 3 y x"]:
        """Return pixels scaled to 0..1, minus the mean, divided by the standard deviation, in float32."""
        mean, std = self._mean.to(pixels.device), self._std.to(pixels.device)
        return pixels.float().div_(255).sub_(mean).div_(std)


def _plain(value: object) -> JsonValue:
    """Return a configuration value as JSON would give it back."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
