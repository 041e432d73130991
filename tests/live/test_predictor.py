import itertools
import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from icecore.live import Predictor
from icecore.store import IdentityError, UsageError, open_store
from icecore.train import SelectSettings, TrainSettings, load_bundle, select, train

from .conftest import another

# What storing tokens costs: float32 keeps what the backbone gave, float16 and bfloat16 round it, int8 more so.
TOLERANCES = {"float32": 1e-5, "float16": 1e-3}


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("tokens", ["all", "cls", "pool:3"])
def test_predictions_on_images_are_the_runs_own_on_its_test_rows(make_trained, digits, dtype: str, tokens: str) -> None:
    trained = make_trained(dtype, tokens)
    predictor = Predictor(trained.bundle, compute_dtype="float32", batch_size=7)
    test = pq.read_table(f"{trained.run}/test.parquet").to_pylist()
    predictions = {each.key: each for each in predictor.predict(digits.items())}
    assert len(predictions) == len(test) > 15
    for row in test:
        each = predictions[row["key"]]
        assert each.error is None
        assert each.probability == pytest.approx(row["probability"], abs=TOLERANCES[dtype])
        assert each.label == predictor.classes[row["prediction"]]


def test_a_prediction_does_not_depend_on_the_rest_of_its_batch(make_trained, digits) -> None:
    bundle = make_trained().bundle
    images = list(digits.items())[:9]
    alone = [each.probability for each in Predictor(bundle, compute_dtype="float32", batch_size=1).predict(images)]
    together = [each.probability for each in Predictor(bundle, compute_dtype="float32", batch_size=9).predict(images)]
    assert alone == pytest.approx(together, abs=1e-5)


def test_answers_come_in_order_and_a_corrupt_image_is_an_error_in_its_place(
    make_trained, digits, tmp_path: Path
) -> None:
    good = list(digits.items())[:5]
    cut = tmp_path / "cut.png"
    cut.write_bytes(good[0][1].read_bytes()[:60])
    bad = [("cut", cut), ("text", b"no image at all"), ("gone", tmp_path / "gone.png")]
    images = [bad[0], good[0], good[1], bad[1], bad[2], *good[2:]]
    predictor = Predictor(make_trained().bundle, compute_dtype="float32", batch_size=3)
    answers = list(predictor.predict(images))
    assert [each.key for each in answers] == [key for key, _ in images]
    assert {each.key for each in answers if each.error} == {"cut", "text", "gone"}
    assert all((each.label is None) == (each.error is not None) for each in answers)
    assert "no known image format" in next(each.error or "" for each in answers if each.key == "text")
    clean = {each.key: each.probability for each in predictor.predict(good)}
    assert {each.key: each.probability for each in answers if not each.error} == pytest.approx(clean, abs=1e-5)


def test_a_batch_with_no_good_image_and_no_images_at_all_are_fine(make_trained) -> None:
    predictor = Predictor(make_trained().bundle)
    assert [each.error is None for each in predictor.predict([("a", b"x"), ("b", b"y")])] == [False, False]
    assert list(predictor.predict([])) == []


def test_images_are_taken_as_they_are_needed(make_trained, digits) -> None:
    taken = []
    endless = itertools.cycle(digits.items())
    stream = (taken.append(key) or (key, path) for key, path in endless)
    answers = Predictor(make_trained().bundle, batch_size=2).predict(stream)
    assert [next(answers).error for _ in range(3)] == [None, None, None]
    assert len(taken) == 4


def test_bytes_and_paths_are_the_same(make_trained, digits) -> None:
    predictor = Predictor(make_trained().bundle)
    (key, path), *_ = digits.items()
    assert [*predictor.predict([(key, path)])] == [*predictor.predict([(key, path.read_bytes())])]


def test_blocks_after_the_deepest_layer_needed_are_dropped(make_trained) -> None:
    predictor = Predictor(make_trained().bundle)
    deepest = max(predictor.layers)
    assert deepest < 6
    with pytest.raises((KeyError, IndexError)):
        predictor.backbone.forward(torch.zeros(1, 3, 160, 160), [deepest + 1])


def test_other_weights_are_refused_with_both_digests(make_trained, save_weights, tmp_path: Path) -> None:
    trained = make_trained()
    other = save_weights(tmp_path / "other.safetensors", 1)
    with pytest.raises(IdentityError, match=r"made with test_vit of weights (\w{64}), got weights (\w{64})") as caught:
        Predictor(trained.bundle, checkpoint=str(other))
    wanted, got = re.findall(r"\w{64}", str(caught.value))
    assert wanted != got
    assert "\n" not in str(caught.value)


def test_several_bundles_share_one_forward_pass(make_trained, digits, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = [make_trained(layers=layers).bundle for layers in ("2,4", "1,3")]
    images = list(digits.items())[:5]
    alone = [list(Predictor(path, compute_dtype="float32").predict(images)) for path in bundles]
    predictor = Predictor(bundles, compute_dtype="float32", batch_size=3)
    passes = []
    forward = predictor.backbone.forward
    monkeypatch.setattr(predictor.backbone, "forward", lambda *given: passes.append(given[1]) or forward(*given))
    together = list(predictor.predict(images))
    assert passes == [predictor.layers] * 2
    assert [(one.key, one.bundle) for one in together] == [(key, path) for key, _ in images for path in bundles]
    for place, path in enumerate(bundles):
        mine = [one for one in together if one.bundle == path]
        assert [one.label for one in mine] == [one.label for one in alone[place]]
        assert [one.probability for one in mine] == pytest.approx([one.probability for one in alone[place]], abs=1e-5)


def test_members_that_are_alike_are_one_stack_and_vote_as_they_would_alone(make_trained, tmp_path: Path) -> None:
    grid = {"adapters": ("inca",), "layers": "4", "lr": (1e-2, 3e-3), "weight_decay": (0.01, 0.1), "epochs": 2}
    train(make_trained().store, str(tmp_path), TrainSettings.model_validate(grid))
    select(str(tmp_path), SelectSettings(selector="average"))
    bundle = load_bundle(f"{tmp_path}/bundle")
    assert len(bundle.stacks) == 1 < len(bundle.facts.members)
    spec = bundle.facts.specs[bundle.layers[0]]
    tokens = {layer: torch.randn(3, spec.num_tokens, spec.width) for layer in bundle.layers}
    alone = torch.zeros(3, len(bundle.classes))
    for stack, votes in zip(bundle.stacks, bundle.votes, strict=True):
        for place, weight in enumerate(votes):
            single = replace(bundle, stacks=(stack.subset([place]),), votes=((1.0,),))
            alone += weight * single.predict(tokens)
    assert sum(map(len, bundle.votes)) == len(bundle.facts.members)
    torch.testing.assert_close(bundle.predict(tokens), alone, atol=1e-6, rtol=0)


def test_bundles_of_other_backbones_are_refused(make_trained, digits, tmp_path: Path) -> None:
    one = make_trained().bundle
    other = another(one, tmp_path / "other", backbone=load_bundle(one).backbone | {"compute_dtype": "bfloat16"})
    with pytest.raises(
        UsageError, match=r"other: its backbone has compute_dtype bfloat16, that of .* float32; predict"
    ):
        Predictor([one, other])


def test_a_target_of_several_labels_gives_every_probability(make_trained, digits, tmp_path: Path) -> None:
    bundle = another(make_trained().bundle, tmp_path / "several", target={"name": "multilabel"})
    (answer,) = Predictor(bundle).predict(list(digits.items())[:1])
    assert answer.label is None
    assert answer.outputs is not None
    assert tuple(answer.outputs) == load_bundle(bundle).classes
    assert all(0 < value < 1 for value in answer.outputs.values())


def test_what_is_beyond_the_deepest_layer_is_not_kept(make_trained) -> None:
    predictor = Predictor(make_trained().bundle)
    names = predictor.backbone.frozen().tensors
    assert {int(name.split(".")[1]) for name in names if name.startswith("blocks.")} == set(
        range(max(predictor.layers))
    )


def test_time_is_counted(make_trained, digits) -> None:
    predictor = Predictor(make_trained().bundle, batch_size=4)
    list(predictor.predict(digits.items()))
    assert predictor.timing.num_images == len(digits)
    assert predictor.timing.images_per_second > 0
    assert predictor.timing.backbone_seconds > 0
    assert predictor.timing.adapter_share > 0


def test_images_are_decoded_by_the_rules_of_the_store(make_trained, digits, tmp_path: Path) -> None:
    bundle = make_trained().bundle
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.open(next(iter(digits.values()))).convert("RGB")
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    predictor = Predictor(bundle)
    preprocessing = predictor.bundles[bundle].preprocessing
    assert predictor.backbone.transform.config == preprocessing
    assert preprocessing["decoding"] == open_store(make_trained().store).identity.preprocessing["decoding"]
    images = [(name, tmp_path / f"{name}.png") for name in ("turned", "upright")]
    turned, plain = predictor.predict(images)
    assert (turned.label, turned.probability) == (plain.label, plain.probability)
    predictor.backbone.transform.decoding = None  # as of a bundle that records no rules
    pixels = [predictor._read(image) for image in images]
    assert not torch.equal(*pixels)  # type: ignore[arg-type]
