"""What stage two needs of the backbone, kept in the store: a configuration and the frozen tensors."""

from dataclasses import dataclass

import safetensors.torch
from pydantic import JsonValue
from safetensors import SafetensorError
from torch import Tensor

from .checksum import canonical
from .errors import IntegrityError
from .location import Location
from .root import BACKBONE_CONFIG, BACKBONE_TENSORS, Root, load_config, load_file


@dataclass(frozen=True, slots=True)
class FrozenBackbone:
    """The frozen blocks and final norm, by timm's names, and the facts needed to run them."""

    config: dict[str, JsonValue]
    tensors: dict[str, Tensor]


def frozen_files(frozen: FrozenBackbone) -> dict[str, bytes]:
    """Return the files that keep a frozen backbone."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(frozen.tensors.items())}
    return {BACKBONE_CONFIG: canonical(frozen.config), BACKBONE_TENSORS: safetensors.torch.save(tensors)}


def keep_known(location: Location, root: Root, frozen: FrozenBackbone) -> FrozenBackbone:
    """Return what a store keeps of the same backbone already, where that is more than what is given."""
    if BACKBONE_TENSORS not in root.files:
        return frozen
    try:
        known = load_frozen(location, root)
    except IntegrityError:  # damaged, so that what is given mends it
        return frozen
    return known if known.tensors.keys() > frozen.tensors.keys() else frozen


def load_frozen(location: Location, root: Root) -> FrozenBackbone:
    """Read the frozen backbone of a store."""
    try:
        tensors = safetensors.torch.load(load_file(location, root, BACKBONE_TENSORS))
    except SafetensorError as error:
        raise IntegrityError(f"{location.url}: {BACKBONE_TENSORS}: {error}") from None
    return FrozenBackbone(load_config(location, root), tensors)
