"""Growing a store: compare a request with the stored root and plan the new root.

A store may gain layers, views and rows. Any other difference is an error that names both values.
"""

import unicodedata
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ..codecs import get_codec
from ..documents.ledger import Entry, load_ledger, shards_listed
from ..documents.root import ROOT, SAMPLES, Root, load_file, load_root
from ..errors import IdentityError, IntegrityError, UsageError
from ..files.location import Location
from ..format.layout import chunk_rows, shard_rows
from ..format.provenance import FACTS, Provenance, now
from ..format.samples import Sample, dataset_sha256, from_parquet, num_rounded, rounded, to_samples
from ..format.spec import Identity, StoreSpec


@dataclass(frozen=True, slots=True)
class Growth:
    """The plan of a writer: the root as stored (None: new), the root to be, and its samples.

    `order[row]` is the index in the requested samples of the store's row `row`.
    """

    stored: Root | None
    root: Root
    samples: tuple[Sample, ...]
    order: tuple[int, ...]

    def recorded(self, asked: StoreSpec) -> "Growth":
        """Return the plan with this extraction recorded as provenance in the root, for when it has rows to write."""
        if self.stored is None:
            return self
        spec = self.root.spec.model_copy(update={name: getattr(asked, name) for name in FACTS})
        if (spec, self.root.num_rows) == (self.stored.spec, self.stored.num_rows):
            return self
        history = (*self.stored.history, Provenance.of(spec, self.root.num_rows, now()))
        return replace(self, root=self.root.model_copy(update={"spec": spec, "provenance": history}))


def grow(location: Location, spec: StoreSpec, samples: Sequence[Sample]) -> Growth:
    """Return the plan for what the store is to hold; the provenance stays as stored, see `Growth.recorded`.

    Raises:
        UsageError: there are no samples.
        IdentityError: the request contradicts what the store holds.
        IntegrityError: the store's documents are damaged.
    """
    if not samples:
        raise UsageError("the data set has no samples; expected at least one image")
    if spec.identity.dataset_sha256 != dataset_sha256(samples, spec.classes):
        raise IdentityError("the samples are not those of the identity asked for; compute dataset_sha256 from them")
    root = _stored_root(location)
    if root is None:
        return Growth(None, _new_root(spec, len(samples)), tuple(samples), tuple(range(len(samples))))
    if root.spec.identity.dataset_sha256 == spec.identity.dataset_sha256:
        rows, classes = tuple(samples), spec.classes
    else:
        table = from_parquet(load_file(location, root, SAMPLES), f"{location.url}: {SAMPLES}")
        known = root.spec.model_copy(update={"rounded_rows": max(root.spec.rounded_rows, num_rounded(table))})
        root = root.model_copy(update={"spec": known})
        written = _written(root, load_ledger(location, root))
        rows, classes = _more_rows(location.url, root.spec, to_samples(table), written, samples, spec.classes)
    sample_index = {sample.key: index for index, sample in enumerate(samples)}
    grown = _grown_root(location.url, root, spec, rows, classes)
    return Growth(root, grown, rows, tuple(sample_index[sample.key] for sample in rows))


def _stored_root(location: Location) -> Root | None:
    """Return the stored root; None where there is no store yet, so that a root missing beside a ledger is damage."""
    if location.exists(ROOT):
        return load_root(location)
    if shards_listed(location):
        raise IntegrityError(f"{location.url}: {ROOT} is missing; run 'icecore verify --repair {location.url}'")
    return None


def _new_root(spec: StoreSpec, num_rows: int) -> Root:
    codec = get_codec(spec.identity.dtype)
    row_bytes = max(codec.parts(layer)["values"].row_bytes for layer in spec.layers.values())
    rows = spec.shard_rows or shard_rows(num_rows, row_bytes)
    return Root(
        store_id=uuid.uuid4().hex,
        created=now(),
        spec=spec,
        num_rows=num_rows,
        shard_rows=rows,
        chunk_rows=_chunk_rows(spec, rows),
        files={},
    )


def _chunk_rows(spec: StoreSpec, rows: int) -> dict[int, int]:
    parts = get_codec(spec.identity.dtype).parts
    return {layer: chunk_rows(rows, parts(shape)["values"].row_bytes) for layer, shape in spec.layers.items()}


def _grown_root(url: str, root: Root, spec: StoreSpec, rows: tuple[Sample, ...], classes: tuple[str, ...]) -> Root:
    stored, asked = root.spec.identity, spec.identity
    identity = stored.model_copy(
        update={
            "layers": tuple(sorted({*stored.layers, *asked.layers})),
            "views": max(stored.views, asked.views),
            "augmentation": stored.augmentation if asked.views == 1 else asked.augmentation,
            "dataset_sha256": dataset_sha256(rows, classes),
        }
    )
    differences = _contradictions(stored, asked, identity)
    if spec.shard_rows not in (None, root.shard_rows):
        differences.append(f"shard_rows: {root.shard_rows} in the store, {spec.shard_rows} asked for")
    for name in ("compressor", "target"):
        stored_value, asked_value = getattr(root.spec, name), getattr(spec, name)
        if stored_value != asked_value:
            differences.append(f"{name}: {stored_value} in the store, {asked_value} asked for")
    if differences:
        raise _refusal(url, differences)
    layers = {**root.spec.layers, **spec.layers}
    update = {"identity": identity, "layers": {k: layers[k] for k in sorted(layers)}, "classes": classes}
    update |= {"rounded_rows": root.spec.rounded_rows}
    chunk_rows = {**_chunk_rows(spec, root.shard_rows), **root.chunk_rows}
    grown = root.spec.model_copy(update=update)
    return root.model_copy(
        update={"spec": grown, "num_rows": len(rows), "chunk_rows": {k: chunk_rows[k] for k in sorted(chunk_rows)}}
    )


def _contradictions(stored: Identity, asked: Identity, grown: Identity) -> list[str]:
    """Return the differences that growth does not explain, a line each."""
    free = {"layers": grown.layers, "views": grown.views, "dataset_sha256": grown.dataset_sha256}
    if 1 in (stored.views, asked.views):
        free["augmentation"] = grown.augmentation
    return stored.model_copy(update=free).differences(asked.model_copy(update=free))


def _written(root: Root, entries: Mapping[int, Entry]) -> frozenset[int]:
    """Return the rows that have tokens in at least one layer and view."""
    finished = {row for entry in entries.values() for row in range(entry.start, entry.stop)}
    return frozenset(finished.difference(*(entry.failed for entry in entries.values())))


def _more_rows(
    url: str,
    spec: StoreSpec,
    stored: Sequence[Sample],
    written: Collection[int],
    samples: Sequence[Sample],
    new: tuple[str, ...],
) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """Return the stored rows followed by the new ones, provided that every stored row is still the same.

    The source bytes of a row without tokens may differ: its image was replaced after it failed to decode, or before its
    row was written.
    """
    if spec.target != "class" and new != spec.classes:
        raise _refusal(
            url, [f"names of the target: {', '.join(spec.classes)} in the store, {', '.join(new)} asked for"]
        )
    classes, numbers = _more_classes(url, spec.classes, new)
    relabelled = [
        sample if sample.label is None else replace(sample, label=numbers[sample.label]) for sample in samples
    ]
    asked = {sample.key: sample for sample in relabelled}
    early = (sample.key for sample in stored[: spec.rounded_rows])
    asked |= {key: rounded(asked[key]) for key in early if key in asked}
    changes = [_change(sample, asked.get(sample.key), row in written) for row, sample in enumerate(stored)]
    if changed := [change for change in changes if change is not None]:
        raise _refusal(url, [f"dataset: {len(changed)} of its {len(stored)} rows changed, first {changed[0]}"])
    known = {sample.key for sample in stored}
    kept = (asked[sample.key] for sample in stored)
    return (*kept, *(sample for sample in relabelled if sample.key not in known)), classes


def _more_classes(url: str, stored: tuple[str, ...], new: tuple[str, ...]) -> tuple[tuple[str, ...], Sequence[int]]:
    """Return the stored classes followed by the new ones, and the label there of every requested class.

    If the request begins with the stored classes, labels stay as requested. Otherwise classes are matched by name, in
    Unicode normal form, which requires unique names.
    """
    if new[: len(stored)] == stored:
        return new, range(len(new))
    number = {_normal(name): label for label, name in enumerate(stored)}
    if len(number) < len(stored) or len({*map(_normal, new)}) < len(new):
        names = stored if len(number) < len(stored) else new
        twice = next(name for name in names if [*map(_normal, names)].count(_normal(name)) > 1)
        raise _refusal(url, [f"classes: {len(stored)} in the store, {len(new)} asked for, two called {twice!r}"])
    added = tuple(name for name in new if _normal(name) not in number)
    number |= {_normal(name): label for label, name in enumerate(added, start=len(stored))}
    return (*stored, *added), [number[_normal(name)] for name in new]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _change(stored: Sample, asked: Sample | None, is_written: bool) -> str | None:
    """Return in words how a requested sample contradicts the stored row; None where it does not."""
    if asked is None:
        return f"{stored.key!r} is in the store, not in the source"
    for name in ("label", "target", "split", "group", *(["sha256"] if is_written else [])):
        stored_value, asked_value = getattr(stored, name), getattr(asked, name)
        if stored_value != asked_value:
            return f"{stored.key!r} {name} {stored_value} in the store, {asked_value} asked for"
    return None


def _refusal(url: str, differences: list[str]) -> IdentityError:
    return IdentityError(
        f"{url}: holds something else: {'; '.join(differences)}; choose another STORE or ask for the same"
    )
