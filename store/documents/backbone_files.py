"""The parts of the backbone that training and prediction need, kept in the store: configuration and frozen tensors."""

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
    """The configuration of a backbone and the tensors of its blocks and final norm, by timm's names."""

    config: dict[str, JsonValue]
    tensors: dict[str, Tensor]


def frozen_files(location: Location, stored: Root | None, frozen: FrozenBackbone) -> dict[str, bytes]:
    """Return the files of a frozen backbone, by role.

    The stored files are kept where they hold the same tensors or more, so that a store that grows need not change them.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(frozen.tensors.items())}
    given = {BACKBONE_CONFIG: canonical(frozen.config), BACKBONE_TENSORS: safetensors.torch.save(tensors)}
    if stored is None:
        return given
    try:
        kept = {role: load_file(location, stored, role) for role in given}
        names = set(safetensors.torch.load(kept[BACKBONE_TENSORS]))
    except (IntegrityError, SafetensorError):  # the stored files are damaged: replace them
        return given
    if names == set(tensors):
        return {**given, BACKBONE_TENSORS: kept[BACKBONE_TENSORS]}  # an early version recorded fewer facts
    return kept if names > set(tensors) else given


def load_frozen(location: Location, root: Root) -> FrozenBackbone:
    """Return the frozen backbone of a store; IntegrityError if its files are damaged."""
    try:
        tensors = safetensors.torch.load(load_file(location, root, BACKBONE_TENSORS))
    except SafetensorError as error:
        raise IntegrityError(f"{location.url}: {BACKBONE_TENSORS}: {error}") from None
    return FrozenBackbone(load_config(location, root), tensors)
