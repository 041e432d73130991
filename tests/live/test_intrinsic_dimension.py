"""The smallest subspace that is enough, submodule by submodule."""

import json
import math
from pathlib import Path

import pytest

from icecore.live import Curve, IntrinsicSettings, most_compressible
from icecore.live.comparison.curve import d90, make_curve
from icecore.live.comparison.intrinsic_dimension import intrinsic_dimension
from icecore.store import UsageError


def test_d90_is_interpolated_in_log_d() -> None:
    assert d90((4, 16, 64), (0.1, 0.5, 0.9), 0.8 / 0.9) == pytest.approx(16 * math.sqrt(64 / 16) ** 1.5)
    assert d90((4, 16), (0.9, 1.0), 1.0) == 4
    assert d90((4, 16), (0.1, 0.2), 1.0) is None


def test_where_the_classifier_alone_is_enough_no_dimension_is_told() -> None:
    assert make_curve("query", (4, 16), (0.9, 1.0), 0.5, 1.0).d90 == 4
    assert make_curve("query", (4, 16), (0.9, 1.0), 0.9, 1.0).d90 is None
    assert make_curve("query", (4, 16), (0.5, 0.5), 0.5, 0.1).d90 is None, "all of it did worse than none of it"


def test_the_most_compressible_come_first() -> None:
    shared = {"dimensions": (4,), "scores": (0.5,), "floor": 0.1, "reference": 1.0}
    found = [
        Curve.model_validate(shared | {"module": m, "d90": d}) for m, d in (("key", 9), ("fc1", None), ("value", 4))
    ]
    assert most_compressible(found, 2) == ("value", "key")


def test_wrong_words_are_found_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[16, 4\]: expected whole numbers from 1 that grow"):
        IntrinsicSettings(dimensions=(16, 4))
    with pytest.raises(UsageError, match=r"unknown submodule 'quary' \(did you mean 'query'\?\)"):
        intrinsic_dimension("nowhere", str(tmp_path / "out"), IntrinsicSettings(modules=("quary",)))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_is_measured_stored_and_plotted(make_trained, tmp_path: Path) -> None:
    given = {"epochs": 1, "batch_size": 32, "lr": (3e-2,), "compute_dtype": "float32", "device": "cpu"}
    asked = IntrinsicSettings.model_validate(given | {"modules": ("query", "fc1"), "dimensions": (2, 32)})
    store, out = make_trained().store, str(tmp_path / "out")
    curves = intrinsic_dimension(store, out, asked)
    assert [curve.module for curve in curves] == ["query", "fc1"]
    assert all(len(curve.scores) == 2 and 0 <= curve.reference <= 1 for curve in curves)
    stored = json.loads((tmp_path / "out/intrinsic_dimension.json").read_text())
    assert [Curve.model_validate(one) for one in stored] == curves
    assert "<svg" in (tmp_path / "out/intrinsic_dimension.svg").read_text()
    assert intrinsic_dimension(store, out, asked) == curves
