"""What an extraction will cost is known before it starts, and what cannot fit is not started."""

from pathlib import Path

import pytest

from icecore.extract import ExtractSettings, extract, preflight
from icecore.store import IcecoreError, UsageError, open_store
from icecore.store.files import location

SOURCE = "sklearn:digits"


def settings(**changes: object) -> ExtractSettings:
    return ExtractSettings.model_validate({"backbone": "icecore_nano", "limit": 150, "layers": "0,3,9", **changes})


@pytest.mark.parametrize("tokens", ["all", "cls", "pool:2"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "int4"])
def test_bytes_are_right_to_five_percent(tmp_path: Path, dtype: str, tokens: str) -> None:
    store = str(tmp_path / "s.ice")
    asked = settings(dtype=dtype, tokens=tokens)
    cost = preflight(SOURCE, store, asked)
    assert not Path(store).exists()
    assert cost.fits
    assert cost.missing_bytes == cost.total_bytes
    assert cost.rows_per_second > 0
    extract(SOURCE, store, asked)
    assert cost.total_bytes == pytest.approx(open_store(store).num_bytes(), rel=0.05)
    assert preflight(SOURCE, store, asked).missing_bytes <= 0.05 * cost.total_bytes


def test_what_cannot_fit_is_refused_before_the_first_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location.LocalFolder, "free_bytes", lambda _: 1_000_000)
    with pytest.raises(IcecoreError, match=r"needs 0\.\d\d GB more, 0\.00 GB are free; choose a smaller --dtype"):
        extract(SOURCE, str(tmp_path / "s.ice"), settings())
    assert not (tmp_path / "s.ice").exists()


def test_a_compressor_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown compressor 'zst' \\(did you mean 'zstd'\\?\\)"):
        extract(SOURCE, str(tmp_path / "s.ice"), settings(compressor="zst"))
