"""The names of `icecore.store`, by module; each is imported when it is first asked for."""

from .backbone_files import FrozenBackbone
from .choose import choose
from .compute import num_usable_cores, resolve_compute_dtype, resolve_device
from .configuration import Frozen
from .dataset import LayerDataset
from .destination import require_destination, require_file
from .errors import IcecoreError, IdentityError, IncompleteError, IntegrityError, LockedError, UsageError
from .estimate import SizeEstimate, estimate_size, free_bytes, missing_bytes, require_room
from .layer_reader import LayerReader
from .layout import Shard
from .location import create_atomic, write_atomic
from .lock import only_writer
from .reader import Store, open_store, require_store
from .root import stored_identity
from .samples import Sample, dataset_sha256
from .shard_writer import ShardWriter
from .source_report import Finding, SourceReport
from .spec import SUM, Identity, LayerSpec, StoreSpec, layer_name
from .verify import Problem, verify
from .writer import Pass, StoreWriter, open_shard, open_writer

__all__ = [
    "SUM",
    "FrozenBackbone",
    "Finding",
    "Frozen",
    "IcecoreError",
    "Identity",
    "IdentityError",
    "IncompleteError",
    "IntegrityError",
    "LayerDataset",
    "LayerReader",
    "LayerSpec",
    "LockedError",
    "Pass",
    "Problem",
    "Sample",
    "Shard",
    "ShardWriter",
    "SizeEstimate",
    "SourceReport",
    "Store",
    "StoreSpec",
    "StoreWriter",
    "UsageError",
    "choose",
    "create_atomic",
    "dataset_sha256",
    "estimate_size",
    "free_bytes",
    "layer_name",
    "missing_bytes",
    "num_usable_cores",
    "only_writer",
    "open_shard",
    "open_store",
    "open_writer",
    "require_destination",
    "require_file",
    "require_room",
    "require_store",
    "resolve_compute_dtype",
    "resolve_device",
    "stored_identity",
    "verify",
    "write_atomic",
]
