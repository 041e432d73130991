"""A store says what wrote its rows: the first extraction and every later one, and none that wrote nothing."""

import shutil
from pathlib import Path

import pytest
from torch import Tensor

from icecore.store import FrozenBackbone, IdentityError, StoreSpec, open_store, verify

from ..conftest import FROZEN, fill, make_spec
from .test_repair import contents, wanted


def later(spec: StoreSpec, day: str = "99.0") -> StoreSpec:
    """The same request, of another place and another day."""
    facts = {"source": f"folder:{day}", "checkpoint": day, "command": f"icecore {day}", "versions": {"timm": day}}
    return spec.model_copy(update=facts)


@pytest.mark.parametrize("dtype", ["float32", "int4"])
def test_an_extraction_without_rows_to_write_changes_no_byte(url: str, tokens: dict[int, Tensor], dtype: str) -> None:
    spec = wanted((0, 3), dtype=dtype)
    fill(url, tokens, spec)
    before = contents(url)
    for asked in (later(spec), later(wanted((3,), dtype=dtype)), spec):
        fill(url, tokens, asked)
        assert contents(url) == before


def test_an_extraction_that_goes_on_is_recorded_beside_the_first(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, num_shards=1)
    fill(url, tokens, num_shards=1)  # the same command goes on: nothing to say
    first = open_store(url).provenance
    assert [one.command for one in first] == [make_spec().command]
    fill(url, tokens, later(make_spec()), num_shards=1)
    store = open_store(url)
    assert store.spec.command == "icecore 99.0"  # what finishes it
    assert store.provenance[:1] == first
    assert [(one.source, one.versions) for one in store.provenance] == [
        ("folder:x", {}),
        ("folder:99.0", {"timm": "99.0"}),
    ]


def test_every_growth_is_recorded_with_what_it_added(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, {layer: values[:100] for layer, values in tokens.items()}, make_spec(100, identity={"layers": (0,)}))
    fill(url, {layer: values[:100] for layer, values in tokens.items()}, later(make_spec(100), "2"))
    fill(url, tokens, later(make_spec(), "3"))
    fill(url, tokens, later(make_spec(identity={"layers": (0,)}), "4"))
    found = [(one.versions.get("timm"), one.layers, one.num_rows) for one in open_store(url).provenance]
    assert found == [(None, (0,), 100), ("2", (0, 3), 100), ("3", (0, 3), 203)]
    assert open_store(url).spec.versions == {"timm": "3"}
    assert verify(url) == []


def test_a_reader_that_was_there_first_reads_on_while_the_store_grows(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, wanted((0,), dtype="int4"))
    reader = open_store(url)
    deeper = FrozenBackbone({"family": "vit"}, {**FROZEN.tensors, "blocks.1": tokens[0][0]})
    fill(url, tokens, wanted((0, 3), dtype="int4"), frozen=deeper)
    assert not Path(url, "channel_scales.safetensors").exists()
    assert reader.layers == (0,)
    assert float((reader.layer(0).rows(slice(None)) - tokens[0]).abs().max()) < 0.5
    assert {"norm.weight"} <= reader.frozen().tensors.keys()
    shutil.rmtree(url)
    fill(url, tokens, wanted((0, 3), dtype="int4"), num_shards=0)  # another store of that name
    Path(url, "backbone/frozen.safetensors").unlink()
    with pytest.raises(Exception, match="is missing"):
        reader.frozen()


def test_another_kind_of_target_is_refused(url: str, tokens: dict[int, Tensor]) -> None:
    fill(url, tokens, make_spec(target="multilabel"))
    with pytest.raises(IdentityError, match="target: multilabel in the store, regression asked for"):
        fill(url, tokens, make_spec(target="regression"))
