"""Runs a vision transformer larger than memory: loads one block at a time from a memory-mapped file.

Knows nothing of shards; `streamed_job` runs many images through a block before the next block is loaded.
"""

import hashlib
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

import timm
import torch
from pydantic import JsonValue
from safetensors import SafetensorError, safe_open
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from icecore.store import Finding, FrozenBackbone, LayerSpec, UsageError, resolve_compute_dtype, resolve_device

from .backbone import Backbone
from .blocks import Images, Tokens
from .checkpoint import is_spare, left_over, without_prefix
from .config import blocks_config
from .transform import Preprocessing
from .weights import local_weights

WHY_NOT = "extracted with --stream-blocks, which keeps no blocks"


class Weights:
    """The tensors of a safetensors file; each read maps the file anew, so that no part of it stays in memory.

    Tensors have the names in the file, until `rename` takes off the prefix of a training script.

    Raises:
        UsageError: the file is no safetensors file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            with safe_open(path, "pt") as file:
                self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
                self._stored = {name: name for name in self.shapes}
        except (OSError, SafetensorError) as error:
            raise UsageError(
                f"checkpoint {path!r}: cannot be streamed ({error}); expected a .safetensors file"
            ) from None

    def rename(self, wanted: Collection[str]) -> tuple[Finding, ...]:
        """Give tensors the names of a model; return notes about prefixes taken off and tensors left over."""
        self._stored, notes = without_prefix(self.shapes, wanted, f"checkpoint {self._path!r}")
        self.shapes = {name: self.shapes[stored] for name, stored in self._stored.items()}
        return notes

    def read(self, name: str) -> Tensor:
        """Return one tensor as float32."""
        with safe_open(self._path, "pt") as file:
            return file.get_tensor(self._stored[name]).float().clone()

    def read_into(self, name: str, tensor: Tensor) -> None:
        """Copy one tensor into another of its shape."""
        with safe_open(self._path, "pt") as file, torch.no_grad():
            tensor.copy_(file.get_tensor(self._stored[name]))


class StreamedBlocks:
    """Reads layers as `Blocks` does, with the weights of one block in memory at a time."""

    def __init__(self, model: Any, weights: Weights, device: torch.device, dtype: torch.dtype) -> None:
        grid = tuple(model.patch_embed.grid_size)
        num_tokens = model.num_prefix_tokens + grid[0] * grid[1]
        spec = LayerSpec(num_tokens=num_tokens, width=model.embed_dim, num_prefix=model.num_prefix_tokens, grid=grid)
        self.specs = (spec,) * (len(model.blocks) + 1)
        self._weights, self._device, self._dtype = weights, device, dtype
        self._block = (
            model.blocks[0].to(dtype).to_empty(device=device)
        )  # holds every block in turn, without allocating anew
        model.blocks, model.norm = nn.Sequential(), nn.Identity()
        self._embed = model.to(device, dtype)
        self._lock = threading.Lock()

    def cut(self, deepest: int) -> None:
        """Do nothing: blocks after the deepest requested layer are never loaded."""

    def embed(self, images: Images) -> Tokens:
        """Return layer 0."""
        return self._embed.forward_features(images.to(self._device, self._dtype))

    def block(self, layer: int) -> Callable[[Tokens], Tokens]:
        """Load and return the block whose output is `layer`; it is valid until the next call."""
        for name, tensor in self._block.state_dict().items():
            self._weights.read_into(f"blocks.{layer - 1}.{name}", tensor)
        return self._block

    def read(self, images: Images, layers: Collection[int]) -> dict[int, Tokens]:
        """Return the tokens of layers for one batch; threads wait for each other."""
        with self._lock:
            tokens = {0: self.embed(images)}
            last = tokens[0]
            for layer in range(1, max(layers) + 1):
                last = self.block(layer)(last)
                if layer in layers:
                    tokens[layer] = last
            return {layer: tokens[layer] for layer in layers}


class StreamedBackbone(Backbone):
    """A backbone whose blocks are loaded one at a time; `frozen` has no blocks."""

    def __init__(
        self,
        name: str,
        model: Any,
        weights: Weights,
        sha256: str,
        transform: Preprocessing,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.name, self.weights_sha256, self.transform = name, sha256, transform
        self.device, self.dtype = device, dtype
        norm = {f"norm.{name}": tensor.clone() for name, tensor in model.norm.state_dict().items()}
        config = blocks_config(model) | {"rebuild": None, "why_not": WHY_NOT}
        self._frozen = FrozenBackbone(config, norm)
        self.blocks = StreamedBlocks(model, weights, self.device, self.dtype)
        self._layers = self.blocks  # pyright: ignore[reportAttributeAccessIssue]
        self.num_layers = len(self.blocks.specs) - 1


def stream_backbone(
    name: str,
    checkpoint: str | None = None,
    device: str = "auto",
    compute_dtype: str = "auto",
    preprocessing: Mapping[str, JsonValue] | None = None,
) -> StreamedBackbone:
    """Open a backbone as `load_backbone` does, with the same digest, but without loading its blocks.

    Raises:
        UsageError: there is no safetensors file, it holds another model, or the model is no timm VisionTransformer.
    """
    where = resolve_device(device)
    dtype = resolve_compute_dtype(compute_dtype, where)
    path = checkpoint or local_weights(name)
    if path is None:
        raise UsageError(f"backbone {name!r}: is streamed from a file; pass --checkpoint FILE.safetensors")
    weights = Weights(str(path))
    with torch.device("meta"):
        model: Any = timm.create_model(name, num_classes=0, pretrained=False)
    if not isinstance(model, VisionTransformer) or not _has_equal_blocks(model):
        raise UsageError(f"backbone {name!r}: {type(model).__name__} cannot be streamed; expected a VisionTransformer")
    model = model.eval().requires_grad_(False)
    notes = weights.rename(model.state_dict())
    sha256, spare = _checked_sha256(model, weights, str(path))
    outer = [name for name in model.state_dict() if not name.startswith("blocks.")]
    model.load_state_dict({name: weights.read(name) for name in outer}, strict=False, assign=True)
    transform = Preprocessing(model, preprocessing)
    if transform.input_size != tuple(model.pretrained_cfg["input_size"]):
        model.set_input_size(img_size=transform.input_size[1:])
    backbone = StreamedBackbone(name, model, weights, sha256, transform, where, dtype)
    backbone.notes = (*notes, *left_over(spare))
    return backbone


def _has_equal_blocks(model: Any) -> bool:
    """Return whether all blocks have tensors of the same shapes, and no buffer is missing from the file."""
    shapes = [{name: tensor.shape for name, tensor in block.state_dict().items()} for block in model.blocks]
    lost = {name for name, _ in model.named_buffers()} - {*model.state_dict()}
    return not lost and all(shape == shapes[0] for shape in shapes)


def _checked_sha256(model: Any, weights: Weights, path: str) -> tuple[str, list[str]]:
    """Return the digest that `weights_sha256` gives for the whole model, and the names of spare tensors in the file.

    Raises:
        UsageError: the file holds another model.
    """
    classifier = model.pretrained_cfg.get("classifier") or ()
    classifier = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    heads = tuple(f"{name}." for name in classifier)
    wanted = {name: tuple(t.shape) for name, t in model.state_dict().items() if not name.startswith(heads)}
    found = {name: shape for name, shape in weights.shapes.items() if not name.startswith(heads)}
    if differing := sorted(
        n for n in {*wanted, *found} if wanted.get(n) != found.get(n) and (n in wanted or not is_spare(model, n))
    ):
        raise UsageError(
            f"checkpoint {path!r}: lacks, or has other or unknown, {', '.join(differing[:3])}; expected the weights of "
            "this backbone by timm's names"
        )
    digest = hashlib.sha256()
    for name, shape in sorted(wanted.items()):
        digest.update(f"{name} torch.float32 {shape}\n".encode())
        digest.update(weights.read(name).flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest(), [name for name in found if name not in wanted]
