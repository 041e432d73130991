"""In-backbone methods on the rows of a store or a source, resumed, merged, and beside cached adapters."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from icecore.extract import ExtractSettings, extract, load_backbone
from icecore.live import CompareSettings, Comparison, compare
from icecore.live.comparison.comparison import read_comparison
from icecore.live.finetune.methods import METHODS
from icecore.live.finetune.study import FinetuneContext, open_study
from icecore.store import IdentityError, UsageError, open_store
from icecore.train import SelectSettings, TrainSettings, select, train
from icecore.train.runs.run import RESULTS
from icecore.train.splits.split import hold_out
from icecore.train.tokens.held_feeds import DecodedFeed
from icecore.train.tokens.order import even_batches, make_order

FAST = {"epochs": 2, "batch_size": 16, "lr": (3e-3,), "compute_dtype": "float32", "device": "cpu"}
SMALL = {"methods": ("full", "linear", "kadaptation", "vpt_deep"), "options": {"kadaptation": {"num_terms": 8}}}


def settings(**given: Any) -> CompareSettings:
    return CompareSettings.model_validate(FAST | SMALL | given)


@pytest.fixture(scope="module")
def compared(make_trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Comparison]:
    """A comparison of a few methods on the rows of a run."""
    trained, out = make_trained(), str(tmp_path_factory.mktemp("compared") / "out")
    return out, compare(trained.store, out, settings(), trained.run)


def test_methods_and_cached_adapters_stand_in_one_table(compared: tuple[str, Comparison], make_trained) -> None:
    out, found = compared
    names = [row.name for row in found.rows]
    assert names[:4] == ["full", "linear", "kadaptation", "vpt_deep"]
    assert [row.kind for row in found.rows] == ["in-backbone"] * 4 + ["cached"] * 2
    assert all(row.validation and row.test and row.test.low <= row.test.score <= row.test.high for row in found.rows)
    by_name = {row.name: row for row in found.rows}
    assert by_name["full"].num_parameters > 100 * by_name["kadaptation"].num_parameters > 0
    assert all(row.multiply_adds for row in found.rows)
    assert by_name["kadaptation"].multiply_adds == by_name["full"].multiply_adds, "merged, it costs nothing"
    assert Comparison.model_validate(read_comparison(out).content) == found
    table = pq.read_table(f"{out}/results.parquet")
    assert table.schema.equals(RESULTS)
    assert len(table) == 4 * 2
    assert found.backbone == "test_vit"
    assert set(found.versions) == {"python", "icecore", "torch", "timm", "pillow", "numpy"}


def test_the_order_and_the_batches_are_those_of_a_sweep(
    make_trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, read, outputs = make_trained().store, list[list[int]](), FinetuneContext.outputs

    def recording(
        self: FinetuneContext, model: nn.Module, rows: np.ndarray, views: np.ndarray | None = None
    ) -> torch.Tensor:
        if torch.is_grad_enabled():
            read.append(rows.tolist())
        return outputs(self, model, rows, views)

    monkeypatch.setattr(FinetuneContext, "outputs", recording)
    compare(url, str(tmp_path / "out"), settings(methods=("linear",), options={}, epochs=1, shuffle_seed=3))
    store = open_store(url)
    rows = hold_out(store, 0.2, 3).train
    order = make_order(store, store.layers, rows, 16, seed=3)
    assert len(rows) % 16
    assert read == [rows[batch.numpy()].tolist() for batch in even_batches(order.epoch(1), 16)]


def test_a_merged_checkpoint_is_another_backbone_that_says_the_same(
    compared: tuple[str, Comparison], make_trained, tmp_path: Path
) -> None:
    out, _ = compared
    trained = make_trained()
    wanted = {"backbone": "test_vit", "checkpoint": f"{out}/kadaptation.safetensors", "compute_dtype": "float32"}
    store = str(tmp_path / "adapted.ice")
    extract("sklearn:digits", store, ExtractSettings.model_validate(wanted | {"dtype": "float32", "limit": 93}))
    before, after = open_store(trained.store), open_store(store)
    assert before.identity.weights_sha256 != after.identity.weights_sha256
    model = timm.create_model("test_vit", num_classes=10)
    model.load_state_dict(load_file(f"{out}/kadaptation.safetensors"))
    tokens = after.layer(6).rows(after.rows("test"))
    with torch.no_grad():
        said = model.forward_head(model.norm(tokens)).softmax(1).argmax(1)  # pyright: ignore
    labels = torch.from_numpy(after.labels[after.rows("test")])
    theirs = next(row for row in compared[1].rows if row.name == "kadaptation")
    assert theirs.test is not None
    assert float((said == labels).double().mean()) == pytest.approx(theirs.test.score, abs=1e-6)
    assert not (Path(out) / "vpt_deep.safetensors").exists()


def test_a_source_has_the_rows_of_its_store(make_trained, checkpoint: Path, tmp_path: Path) -> None:
    of_store = compare(make_trained().store, str(tmp_path / "a"), settings(methods=("linear",), options={}))
    asked = settings(methods=("linear",), options={}, backbone="test_vit", checkpoint=str(checkpoint), limit=93)
    of_source = compare("sklearn:digits", str(tmp_path / "b"), asked)
    assert of_source.num_train_rows == of_store.num_train_rows
    same = ("validation", "test", "num_parameters")
    ours, theirs = of_source.rows[0].model_dump(include=set(same)), of_store.rows[0].model_dump(include=set(same))
    assert ours == theirs


def killed_compare(where: str, out: str, given: CompareSettings, after: int) -> None:
    torch.set_num_threads(1)

    def die(progress: Any) -> None:
        if progress.done >= after:
            os.kill(os.getpid(), signal.SIGKILL)

    compare(where, out, given, progress=die)


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(make_trained, tmp_path: Path) -> None:
    store, given = make_trained().store, settings(methods=("kadaptation", "full"), checkpoint_seconds=0)
    whole = compare(store, str(tmp_path / "whole"), given)
    for after in (1, 3):  # epochs: in the first method, then in the second
        child = multiprocessing.get_context("fork").Process(
            target=killed_compare, args=(store, str(tmp_path / "killed"), given, after)
        )
        child.start()
        child.join(120)
        assert child.exitcode == -signal.SIGKILL
    resumed = compare(store, str(tmp_path / "killed"), given)
    ignored = {"seconds", "search_seconds", "peak_bytes"}
    assert [row.model_dump(exclude=ignored) for row in resumed.rows] == [
        row.model_dump(exclude=ignored) for row in whole.rows
    ]
    for name in ("kadaptation", "full"):
        one, two = (load_file(tmp_path / folder / f"{name}.safetensors") for folder in ("whole", "killed"))
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_second_call_trains_nothing_again(compared: tuple[str, Comparison], make_trained) -> None:
    out, found = compared
    said: list[Any] = []
    again = compare(make_trained().store, out, settings(), make_trained().run, said.append)
    assert not said
    assert again == found


def test_bfloat16_is_near_float32(compared: tuple[str, Comparison], make_trained, tmp_path: Path) -> None:
    given = settings(methods=("kadaptation",), compute_dtype="bfloat16")
    found = compare(make_trained().store, str(tmp_path / "half"), given)
    exact = next(row for row in compared[1].rows if row.name == "kadaptation")
    assert found.compute_dtype == "bfloat16"
    assert found.rows[0].validation is not None
    assert exact.validation is not None
    assert found.rows[0].validation.score == pytest.approx(exact.validation.score, abs=0.2)


def test_a_training_that_diverges_says_so(make_trained, tmp_path: Path) -> None:
    found = compare(make_trained().store, str(tmp_path / "out"), settings(methods=("full",), options={}, lr=(1e30,)))
    assert found.rows[0].status == "diverged in epoch 1"
    assert found.rows[0].test is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"methods": ("lora", "kadaption")}, r"unknown method 'kadaption' \(did you mean 'kadaptation'\?\)"),
        ({"methods": ("lora",), "options": {"full": {}}}, r"options for \['full'\]: not among the methods \['lora'\]"),
        (
            {"methods": ("lora",), "options": {"lora": {"rang": 2}}},
            "option 'rang' of method 'lora': unknown key; it has rank, alpha, modules",
        ),
    ],
)
def test_wrong_words_are_found_before_any_work(make_trained, tmp_path: Path, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        compare(make_trained().store, str(tmp_path / "out"), CompareSettings.model_validate(FAST | given))


def test_a_source_needs_a_backbone(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="sklearn:digits: a source names no backbone; give --backbone NAME, or a store"
    ):
        compare("sklearn:digits", str(tmp_path / "out"), settings())


def test_other_weights_are_refused(make_trained, save_weights, tmp_path: Path) -> None:
    other = str(save_weights(tmp_path / "other.safetensors", 1))
    with pytest.raises(IdentityError, match=r"made with test_vit of weights \w{64}, got weights \w{64}"):
        compare(make_trained().store, str(tmp_path / "out"), settings(checkpoint=other))


def test_a_run_that_held_out_other_rows_is_refused(make_trained, tmp_path: Path) -> None:
    trained = make_trained()
    store = str(tmp_path / "other.ice")
    wanted = {"backbone": "test_vit", "compute_dtype": "float32", "layers": "0", "limit": 91}
    weights = tmp_path / "w.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), weights)
    extract("sklearn:digits", store, ExtractSettings.model_validate(wanted | {"checkpoint": str(weights)}))
    with pytest.raises(UsageError, match="is of another data set or backbone than sklearn:digits; compare alike"):
        compare(store, str(tmp_path / "out"), settings(), trained.run)


def test_a_run_of_folds_is_refused(make_trained, tmp_path: Path) -> None:
    store, folded = make_trained().store, str(tmp_path / "folded")
    train(store, folded, TrainSettings(adapters=("linear",), lr=(1e-2,), pooling=("cls",), epochs=1, folds=2))
    with pytest.raises(UsageError, match="was trained with --folds, and compare holds out one part; give a run with"):
        compare(store, str(tmp_path / "out"), settings(), folded)


def test_every_method_has_learning_rates_of_its_own() -> None:
    assert all(len(method.lrs) > 1 for method in METHODS.values())


@pytest.fixture(scope="module")
def viewed(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of three views, in several shards."""
    url = str(tmp_path_factory.mktemp("viewed") / "digits.ice")
    wanted = {"backbone": "test_vit", "checkpoint": str(checkpoint), "compute_dtype": "float32", "dtype": "float32"}
    views = {"views": 3, "augment": "rand", "layers": "2", "tokens": "cls", "limit": 60, "shard_rows": 16}
    extract("sklearn:digits", url, ExtractSettings.model_validate(wanted | views))
    return url


Batches = list[tuple[list[int], list[int]]]


def batches_of_train(store: str, run: str, monkeypatch: pytest.MonkeyPatch) -> Batches:
    """The rows and views of every batch that a sweep trains on."""
    seen, original = [], DecodedFeed.batches
    train_rows = hold_out(open_store(store), 0.2, 5).train

    def spy(self: DecodedFeed, batches: Sequence[torch.Tensor], first: int = 0) -> Any:
        if self.num_rows == len(train_rows):
            for batch in batches[first:]:
                views, rows = np.divmod(batch.numpy(), self.num_rows)
                seen.append((train_rows[rows].tolist(), views.tolist()))
        return original(self, batches, first)

    monkeypatch.setattr(DecodedFeed, "batches", spy)
    wanted = {"adapters": ("linear",), "lr": (1e-2,), "weight_decay": (0.01,), "pooling": ("cls",), "device": "cpu"}
    train(store, run, TrainSettings.model_validate(wanted | {"epochs": 3, "batch_size": 16, "shuffle_seed": 5}))
    return seen


@pytest.mark.parametrize("where", ["store", "source"])
def test_rows_views_and_order_are_those_of_train_in_every_epoch(
    where: str, viewed: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, run = batches_of_train(viewed, str(tmp_path / "run"), monkeypatch), str(tmp_path / "run")
    select(run, SelectSettings(selector="best", num_resamples=100))
    seen, original = [], FinetuneContext.outputs

    def spy(self: FinetuneContext, model: torch.nn.Module, rows: Any, views: Any = None) -> Any:
        if model.training:
            seen.append((rows.tolist(), views.tolist()))
        return original(self, model, rows, views)

    monkeypatch.setattr(FinetuneContext, "outputs", spy)
    given = settings(methods=("linear",), options={}, epochs=3, shuffle_seed=7)  # the seed of the RUN counts
    if where == "source":
        given = given.model_copy(update={"backbone": "test_vit", "checkpoint": str(checkpoint), "limit": 60})
    compare(viewed if where == "store" else "sklearn:digits", str(tmp_path / "out"), given, run)
    assert seen == wanted
    assert len(seen) == 3 * 2
    assert {view for _, views in seen for view in views} == {0, 1, 2}
    assert len({str(sorted(zip(*batch, strict=True))) for batch in seen}) == 6, "no two batches are alike"


def test_the_views_are_those_of_the_store(viewed: str, tmp_path: Path) -> None:
    store = open_store(viewed)
    study = open_study(store, settings(), str(tmp_path))
    rows = study.split.train[[3, 0, 3, 7, 7]]
    backbone = load_backbone("test_vit", store.spec.checkpoint, "cpu", "float32", store.identity.preprocessing)
    pixels = study.pixels.of(rows, np.array([0, 1, 2, 1, 2]))
    found = backbone.forward(backbone.transform.normalise(pixels), [2])[2][:, :1]
    stored = [store.layer(2).rows(rows[[place]], view) for place, view in enumerate([0, 1, 2, 1, 2])]
    torch.testing.assert_close(found, torch.cat(stored), atol=1e-4, rtol=0)
    test = store.rows("test")
    assert torch.equal(study.pixels.of(test), study.pixels.of(test, np.zeros_like(test)))
