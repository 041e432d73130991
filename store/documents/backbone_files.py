"""What stage two needs of the backbone, kept in the store: a configuration and the frozen tensors."""

from dataclasses import dataclass

import safetensors.torch
from pydantic import JsonValue
from safetensors import SafetensorError
from torch import Tensor

from ..errors import IntegrityError
from ..files.location import Location
from ..format.checksum import canonical
from .root import BACKBONE_CONFIG, BACKBONE_TENSORS, Root, load_config, load_file


@dataclass(frozen=True, slots=True)
class FrozenBackbone:
    """The frozen blocks and final norm, by timm's names, and the facts needed to run them."""

    config: dict[str, JsonValue]
    tensors: dict[str, Tensor]


def frozen_files(location: Location, stored: Root | None, frozen: FrozenBackbone) -> dict[str, bytes]:
    """Return the files that keep a frozen backbone; those of the store where it keeps the same tensors, or more."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(frozen.tensors.items())}
    given = {BACKBONE_CONFIG: canonical(frozen.config), BACKBONE_TENSORS: safetensors.torch.save(tensors)}
    if stored is None:
        return given
    try:
        known = {role: load_file(location, stored, role) for role in given}
        names = set(safetensors.torch.load(known[BACKBONE_TENSORS]))
    except (IntegrityError, SafetensorError):  # damaged, so that what is given mends it
        return given
    if names == set(tensors):
        return {**given, BACKBONE_TENSORS: known[BACKBONE_TENSORS]}  # an older version said less of the same blocks
    return known if names > set(tensors) else given


def load_frozen(location: Location, root: Root) -> FrozenBackbone:
    """Read the frozen backbone of a store."""
    try:
        tensors = safetensors.torch.load(load_file(location, root, BACKBONE_TENSORS))
    except SafetensorError as error:
        raise IntegrityError(f"{location.url}: {BACKBONE_TENSORS}: {error}") from None
    return FrozenBackbone(load_config(location, root), tensors)
