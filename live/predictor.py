"""A bundle on raw images: the frozen backbone up to the deepest layer that the bundle needs, then its adapters."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import UInt8
from pydantic import JsonValue
from torch import Tensor

from icecore.extract import Backbone, load_backbone
from icecore.extract.decoding import decode_image
from icecore.extract.tokens import reduction
from icecore.train import load_bundle

from .prediction import Prediction
from .weights import require_weights

Image = bytes | str | Path
Pixels = UInt8[Tensor, "3 height width"]


class Predictor:
    """Names the classes of images; refuses a backbone whose weights are not the ones its adapters were trained on."""

    def __init__(
        self,
        bundle: str,
        checkpoint: str | None = None,
        device: str = "auto",
        compute_dtype: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self.batch_size = batch_size
        self._bundle = load_bundle(bundle)
        self.backbone = _load_backbone(
            bundle, self._bundle.backbone, checkpoint, device, compute_dtype, self._bundle.preprocessing
        )
        self.backbone.cut(max(self.layers))
        self._reductions = {k: reduction(self._bundle.facts.tokens, self.backbone.layer_spec(k)) for k in self.layers}
        self._bundle = self._bundle.to(self.backbone.device)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that the bundle's adapters read."""
        return self._bundle.layers

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels there are."""
        return self._bundle.classes

    def predict(self, images: Iterable[tuple[str, Image]]) -> Iterator[Prediction]:
        """Yield a prediction for each (key, bytes or path), in order; an image that cannot be read yields its error."""
        stream = iter(images)
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as pool:
            while batch := list(islice(stream, self.batch_size)):
                yield from self._predict([key for key, _ in batch], list(pool.map(self._read, batch)))

    def _read(self, image: tuple[str, Image]) -> Pixels | Exception:
        """Return the pixels, or why there are none: Pillow raises a dozen types for broken files."""
        given = image[1]
        try:
            return self.backbone.transform.pixels(
                decode_image(given if isinstance(given, bytes) else Path(given).read_bytes())
            )
        except Exception as error:
            return error

    def _predict(self, keys: Sequence[str], read: Sequence[Pixels | Exception]) -> Iterator[Prediction]:
        good = [pixels for pixels in read if isinstance(pixels, Tensor)]
        answers = iter(self._classify(torch.stack(good)) if good else ())
        for key, pixels in zip(keys, read, strict=True):
            if isinstance(pixels, Exception):
                yield Prediction(key, None, None, f"{type(pixels).__name__}: {pixels}")
            else:
                label, probability = next(answers)
                yield Prediction(key, label, probability)

    def _classify(self, pixels: UInt8[Tensor, "batch 3 height width"]) -> list[tuple[str, float]]:
        images = self.backbone.transform.normalise(pixels)
        tokens = self.backbone.forward(images, self.layers)
        reduced = {layer: self._reductions[layer].reduce(tokens[layer]) for layer in tokens}
        best = self._bundle.predict(reduced).max(dim=1)
        return [(self.classes[k], p) for k, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)]


def _load_backbone(
    bundle: str,
    wanted: Mapping[str, str | None],
    checkpoint: str | None,
    device: str,
    compute_dtype: str | None,
    preprocessing: Mapping[str, JsonValue],
) -> Backbone:
    """Load the backbone that a bundle names, in the compute type of its store where that is recorded."""
    dtype = compute_dtype or wanted.get("compute_dtype") or "auto"
    backbone = load_backbone(str(wanted["name"]), checkpoint or wanted["checkpoint"], device, dtype, preprocessing)
    require_weights(bundle, str(wanted["name"]), wanted["weights_sha256"], backbone.weights_sha256)
    return backbone
