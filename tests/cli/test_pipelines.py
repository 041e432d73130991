import re
from pathlib import Path

import pytest

from icecore.cli.options.settings import parse_settings
from icecore.cli.pipeline.pipelines import load_pipeline
from icecore.cli.pipeline.plan import make_plan
from icecore.store import Frozen, UsageError

ROOT = Path(__file__).parents[2]
GOOD = """
digits:
  source: sklearn:digits
  store: ${PLACE:-somewhere}/digits.ice
  run: runs/digits
  extract: {backbone: deit_tiny_patch16_224}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "pipelines.yaml"
    path.write_text(text)
    return path


def test_a_pipeline_has_its_blocks_and_empty_ones_where_none_is_written(tmp_path: Path) -> None:
    pipeline = load_pipeline(written(tmp_path, GOOD), "digits")
    assert pipeline.extract == {"backbone": "deit_tiny_patch16_224"}
    assert pipeline.train == pipeline.select == {}


def test_environment_variables_go_in_and_have_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, GOOD)
    assert load_pipeline(path, "digits").store == "somewhere/digits.ice"
    monkeypatch.setenv("PLACE", "/elsewhere")
    assert load_pipeline(path, "digits").store == "/elsewhere/digits.ice"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD.replace("source", "sorce"),
            "digits.sorce: unknown key (did you mean 'source'?); known: source, store, run",
        ),
        (GOOD.replace("  run: runs/digits\n", ""), "digits.run is required"),
        (
            GOOD.replace("${PLACE:-somewhere}", "${NOT_SET_ANYWHERE}"),
            "digits.store: environment variable NOT_SET_ANYWHERE is not set",
        ),
        (GOOD.replace("digits:\n", "digit:\n", 1), "no pipeline 'digits' (did you mean 'digit'?); known: digit"),
        ("digits: 3", "digits: expected keys and values, got 3"),
        ("- digits", "expected pipelines by name, got ['digits']"),
        ("digits: [", "not YAML: while parsing"),
        ("digits: !!python/object:os.system {}", "not YAML: could not determine a constructor"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        load_pipeline(path, "digits")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file '.*none\.yaml': name one with -f"):
        load_pipeline(tmp_path / "none.yaml", "demo")


@pytest.mark.parametrize(
    ("name", "backbone"), [("demo", "icecore_nano"), ("shapes", "icecore_nano"), ("gtsrb", "deit_tiny_patch16_224")]
)
def test_the_pipelines_that_ship_parse_with_the_stages_own_models(name: str, backbone: str) -> None:
    assert make_plan(ROOT / "pipelines.yaml", name).extract.backbone == backbone


def test_a_wrong_key_of_a_stage_is_named_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "  train: {epoch: 3}")
    with pytest.raises(
        UsageError, match=re.escape("digits.train.epoch: unknown key (did you mean 'epochs'?); known: ")
    ):
        make_plan(path, "digits")


class Grid(Frozen):
    lr: tuple[float, ...] = (1.0,)
    heads: tuple[int, ...] | None = None
    epochs: int = 3


def option(key: str) -> str:
    return f"--{key}"


def test_a_comma_list_is_a_grid_and_what_is_not_given_is_the_models_own() -> None:
    assert parse_settings(Grid, {"lr": "1e-3, 3e-3"}, option) == Grid(lr=(1e-3, 3e-3))
    assert parse_settings(Grid, {"heads": "3,6"}, option).heads == (3, 6)
    assert parse_settings(Grid, {}, option) == Grid()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": "1e-3,x"}, "--lr: got 'x': expected a valid number"),
        ({"lr": "1e-3,"}, "--lr: got '1e-3,': one of its values is empty; expected them with commas between"),
        ({"heads": "3,,6"}, "--heads: got '3,,6': one of its values is empty"),
        ({"epochs": "many"}, "--epochs: got 'many': expected a valid integer"),
        ({"epoch": 3}, "--epoch: unknown key (did you mean 'epochs'?); known: lr, heads, epochs"),
    ],
)
def test_a_wrong_value_names_its_option(values: dict, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_settings(Grid, values, option)
