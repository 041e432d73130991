"""Bundles on raw images: the frozen backbone up to the deepest layer that any bundle reads, then all adapters."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from icecore.extract import Backbone, load_backbone, reduction
from icecore.extract.decoding import decode_image
from icecore.extract.files import Tally
from icecore.extract.rows import note_image
from icecore.store import UsageError
from icecore.train import Bundle, load_bundle

from ..weights import require_weights
from .inputs import Image
from .prediction import Prediction
from .timing import Timing

Pixels = UInt8[Tensor, "3 height width"]


class Predictor:
    """Predictions of one bundle, or of several bundles on one backbone with one forward pass for all.

    `bundle` is one folder or several. `checkpoint` and `compute_dtype` None mean those recorded in the first bundle.
    `timing` adds up seconds; `tally`, a new one by default, counts images that are decoded in a way worth knowing, such
    as those whose later frames are dropped.

    Raises:
        UsageError: the bundles differ in backbone or preprocessing.
        IdentityError: the backbone's weights are not those that the adapters were trained on.
    """

    def __init__(
        self,
        bundle: str | Sequence[str],
        checkpoint: str | None = None,
        device: str = "auto",
        compute_dtype: str | None = None,
        batch_size: int = 32,
        tally: Tally | None = None,
    ) -> None:
        self.batch_size = batch_size
        paths = [bundle] if isinstance(bundle, str) else list(bundle)
        self.bundles = {path: load_bundle(path) for path in paths}
        _require_alike(self.bundles)
        self.layers = tuple(sorted({layer for each in self.bundles.values() for layer in each.layers}))
        self.backbone = _load_backbone(
            paths[0], self.bundles[paths[0]], checkpoint, device, compute_dtype, self.layers[-1]
        )
        self.bundles = {path: each.to(self.backbone.device) for path, each in self.bundles.items()}
        self.timing = Timing(self.backbone.device)
        self.tally = tally or Tally()

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names of the first bundle."""
        return next(iter(self.bundles.values())).classes

    def predict(self, images: Iterable[tuple[str, Image]]) -> Iterator[Prediction]:
        """Yield one prediction for each image and bundle, in order; an image is (key, encoded bytes or path).

        An image that cannot be decoded yields a Prediction with `error`.
        """
        stream = iter(images)
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as executor:
            while batch := list(islice(stream, self.batch_size)):
                with self.timing.batch(len(batch)):
                    answers = self._predict([key for key, _ in batch], list(executor.map(self._read, batch)))
                yield from answers

    def _read(self, image: tuple[str, Image]) -> Pixels | Exception:
        """Return the pixels, or any exception of decoding: Pillow raises a dozen types for broken files."""
        key, given = image
        try:
            data = given if isinstance(given, bytes) else Path(given).read_bytes()
            transform = self.backbone.transform
            note_image(self.tally, key, data, transform)
            return transform.pixels(decode_image(data, transform.decoding))
        except Exception as error:
            return error

    def _predict(self, keys: Sequence[str], read: Sequence[Pixels | Exception]) -> list[Prediction]:
        good = [pixels for pixels in read if isinstance(pixels, Tensor)]
        tables = self.outputs(torch.stack(good)) if good else {}
        predictions: list[Prediction] = []
        index = 0  # among the decoded images
        for key, pixels in zip(keys, read, strict=True):
            for path, bundle in self.bundles.items():
                name = path if len(self.bundles) > 1 else None
                if isinstance(pixels, Exception):
                    predictions.append(Prediction(key, None, None, f"{type(pixels).__name__}: {pixels}", bundle=name))
                else:
                    predictions.append(_answer(key, bundle, tables[path][index], name))
            index += not isinstance(pixels, Exception)
        return predictions

    @torch.no_grad()
    def outputs(self, pixels: UInt8[Tensor, "batch 3 height width"]) -> dict[str, Float[Tensor, "batch _outputs"]]:
        """Return each bundle's predictions by folder: probabilities, or numbers in the target's unit, on the CPU."""
        with self.timing.backbone():
            images = self.backbone.transform.normalise(pixels.to(self.backbone.device))
            tokens = self.backbone.forward(images, self.layers)
        with self.timing.adapters():
            return {path: bundle.predict(self._reduced(bundle, tokens)).cpu() for path, bundle in self.bundles.items()}

    def _reduced(self, bundle: Bundle, tokens: Mapping[int, Tensor]) -> dict[int, Float[Tensor, "row token width"]]:
        kept = {layer: reduction(bundle.facts.tokens, self.backbone.layer_spec(layer)) for layer in bundle.layers}
        return {layer: kept[layer].reduce(tokens[layer]) for layer in bundle.layers}


def _answer(key: str, bundle: Bundle, outputs: Float[Tensor, " outputs"], name: str | None) -> Prediction:
    if bundle.target.score_name == "top1":
        probability, best = outputs.max(0)
        return Prediction(key, bundle.classes[int(best)], float(probability), bundle=name)
    values = dict(zip(bundle.classes, outputs.tolist(), strict=True))
    return Prediction(key, None, None, outputs=values, bundle=name)


def _require_alike(bundles: Mapping[str, Bundle]) -> None:
    """Refuse bundles that cannot share a forward pass."""
    (first, one), *others = bundles.items()
    for path, other in others:
        for what in ("name", "weights_sha256", "compute_dtype"):
            if one.backbone.get(what) != other.backbone.get(what):
                raise UsageError(
                    f"{path}: its backbone has {what} {other.backbone.get(what)}, that of {first} "
                    f"{one.backbone.get(what)}; predict with each alone"
                )
        if one.preprocessing != other.preprocessing:
            raise UsageError(f"{path}: prepares images otherwise than {first}; predict with each alone")


def _load_backbone(
    path: str, bundle: Bundle, checkpoint: str | None, device: str, compute_dtype: str | None, deepest: int
) -> Backbone:
    """Load the backbone of a bundle up to layer `deepest`, in the recorded compute dtype unless one is given."""
    wanted = bundle.backbone
    dtype = compute_dtype or wanted.get("compute_dtype") or "auto"
    name, weights = str(wanted["name"]), checkpoint or wanted["checkpoint"]
    backbone = load_backbone(name, weights, device, dtype, bundle.preprocessing, deepest)
    require_weights(path, name, wanted["weights_sha256"], backbone.weights_sha256)
    return backbone
