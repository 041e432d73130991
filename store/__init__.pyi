"""The names of `icecore.store`, by module; each is imported when it is first asked for."""

from .choose import choose
from .cluster import SchedulerLostError, absolute_url, connect_cluster, run_tasks
from .codecs import get_codec
from .compute import num_usable_cores, resolve_compute_dtype, resolve_device
from .configuration import ComputeDtype, Frozen, option_words, validation_message
from .documents.backbone_files import FrozenBackbone
from .documents.estimate import SizeEstimate, estimate_size, free_bytes, missing_bytes, require_room
from .documents.root import stored_identity
from .errors import IcecoreError, IdentityError, IncompleteError, IntegrityError, LockedError, UsageError
from .files.destination import require_destination, require_file
from .files.location import create_atomic, write_atomic
from .files.lock import only_writer
from .format.layer_list import parse_layer_list
from .format.layout import Shard
from .format.samples import Sample, dataset_sha256
from .format.source_report import Finding, SourceReport
from .format.spec import SUM, Identity, LayerSpec, StoreSpec, layer_name
from .lazy import lazy_package
from .reading.dataset import LayerDataset
from .reading.layer_reader import LayerReader
from .reading.reader import Store, open_store, require_store
from .reading.verify import Problem, verify
from .writing.shard_writer import ShardWriter
from .writing.writer import StoreAccess, StoreWriter, open_shard, open_writer

__all__ = [
    "ComputeDtype",
    "Finding",
    "Frozen",
    "FrozenBackbone",
    "IcecoreError",
    "Identity",
    "IdentityError",
    "IncompleteError",
    "IntegrityError",
    "LayerDataset",
    "LayerReader",
    "LayerSpec",
    "LockedError",
    "StoreAccess",
    "Problem",
    "SUM",
    "Sample",
    "SchedulerLostError",
    "Shard",
    "ShardWriter",
    "SizeEstimate",
    "SourceReport",
    "Store",
    "StoreSpec",
    "StoreWriter",
    "UsageError",
    "absolute_url",
    "choose",
    "connect_cluster",
    "create_atomic",
    "dataset_sha256",
    "estimate_size",
    "free_bytes",
    "get_codec",
    "layer_name",
    "lazy_package",
    "missing_bytes",
    "num_usable_cores",
    "only_writer",
    "open_shard",
    "open_store",
    "open_writer",
    "option_words",
    "parse_layer_list",
    "require_destination",
    "require_file",
    "require_room",
    "require_store",
    "resolve_compute_dtype",
    "resolve_device",
    "run_tasks",
    "stored_identity",
    "validation_message",
    "verify",
    "write_atomic",
]
