"""Small stores with known content."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import fsspec
import pytest
import torch
from torch import Tensor

from icecore.store import FrozenBackbone, Identity, LayerSpec, Sample, StoreSpec, dataset_sha256, open_writer

NUM_ROWS = 203  # divides by nothing
LAYERS = (0, 3)
LAYER = LayerSpec(num_tokens=17, width=24, num_prefix=1, grid=(4, 4))
CLASSES = ("ant", "bee", "cow")
FROZEN = FrozenBackbone({"family": "vit"}, {"norm.weight": torch.ones(24)})


def make_samples(num_rows: int = NUM_ROWS) -> list[Sample]:
    return [Sample(f"x/{row}.png", row % 3, "train" if row % 5 else "test", sha256="0") for row in range(num_rows)]


def make_spec(num_rows: int = NUM_ROWS, dtype: str = "float32", **changes: object) -> StoreSpec:

    identity = Identity(
        backbone="tiny",
        weights_sha256="w",
        preprocessing={"interpolation": "bicubic"},
        layers=LAYERS,
        tokens="all",
        dtype=dtype,
        compute_dtype="float32",
        dataset_sha256=dataset_sha256(make_samples(num_rows), CLASSES),
    )
    spec = StoreSpec(
        identity=identity.model_copy(update=changes.pop("identity", {})),  # type: ignore[arg-type]
        layers=dict.fromkeys(LAYERS, LAYER),
        classes=CLASSES,
        source="folder:x",
        checkpoint=None,
        command="icecore extract folder:x s.ice --backbone tiny",
        versions={},
    )
    return spec.model_copy(update=changes)


def make_tokens(num_rows: int = NUM_ROWS) -> dict[int, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {layer: torch.randn(num_rows, 17, 24, generator=generator) for layer in LAYERS}


def fill(
    url: str,
    tokens: Mapping[int, Tensor],
    spec: StoreSpec | None = None,
    failed: Mapping[int, str] | None = None,
    num_shards: int | None = None,
    batch_size: int = 10,
    frozen: FrozenBackbone = FROZEN,
) -> None:
    """Write what is still to be written, or only so many shards of it."""
    failed = failed or {}
    num_rows = len(next(iter(tokens.values())))
    samples = make_samples(num_rows)
    measure = lambda layers: {layer: tokens[layer][::7] for layer in layers}  # noqa: E731
    with open_writer(url, spec or make_spec(num_rows), samples, frozen, measure) as writer:
        for shard in writer.todo[:num_shards]:
            with writer.shard(shard) as out:
                for start in range(shard.start, shard.stop, batch_size):
                    batch = [row for row in range(start, min(start + batch_size, shard.stop)) if row not in failed]
                    for view in shard.views:
                        out.append(batch, {layer: tokens[layer][batch] for layer in shard.layers}, view)
                for row in failed.keys() & set(range(shard.start, shard.stop)):
                    out.fail(row, failed[row])


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "s.ice")


@pytest.fixture
def tokens() -> dict[int, Tensor]:
    return make_tokens()


@pytest.fixture
def full(url: str, tokens: dict[int, Tensor]) -> Callable[..., str]:
    """Return a function that makes a finished store and returns its path."""

    def make(**changes: object) -> str:
        fill(url, tokens, make_spec(**changes))  # type: ignore[arg-type]
        return url

    return make


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """An S3-compatible server on loopback, with one bucket."""
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3", use_listings_cache=False).mkdir("ice")
        yield "s3://ice"
    server.stop()
