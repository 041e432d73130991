"""Options: their help says the defaults and the choices of the code, and none is given in vain."""

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from icecore.cli.app import app
from icecore.cli.options.source_options import SOURCE_OPTIONS
from icecore.extract import SOURCES
from icecore.extract.settings import SourceSettings
from icecore.live import Predictor
from icecore.store.codecs import CODECS

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
STAGES = {
    "extract": ("icecore.extract", "ExtractSettings"),
    "score": ("icecore.train", "ScoreSettings"),
    "train": ("icecore.train", "TrainSettings"),
    "select": ("icecore.train", "SelectSettings"),
    "compare": ("icecore.live", "CompareSettings"),
    "intrinsic": ("icecore.live", "IntrinsicSettings"),
}


@pytest.mark.parametrize("command", STAGES)
def test_a_stages_option_has_no_default_but_the_stages(command: str) -> None:
    fields = getattr(import_module(STAGES[command][0]), STAGES[command][1]).model_fields
    given = {option.name: option.default for option in COMMANDS[command].params if option.name in fields}
    own = {name: default for name, default in given.items() if default not in (None, False)}
    assert {name: default for name, default in own.items() if not fields[name].is_required()} == {}


def test_the_defaults_of_predict_are_the_predictors() -> None:
    parameters = inspect.signature(Predictor).parameters
    shared = {option.name: option.default for option in COMMANDS["predict"].params if option.name in parameters}
    del shared["bundle"]
    assert shared == {name: parameters[name].default for name in shared}


@pytest.mark.parametrize("command", ["extract", "compare", "intrinsic"])
def test_every_command_that_reads_a_source_takes_all_its_options(command: str) -> None:
    assert {*SourceSettings.model_fields} == {*SOURCE_OPTIONS} <= {one.name for one in COMMANDS[command].params}


def test_the_help_of_extract_names_every_source_and_every_type() -> None:
    page = " ".join(str(COMMANDS["extract"].help).split())
    assert [kind for kind in SOURCES if f"{kind}:" not in page] == []
    (dtype,) = (option.help for option in COMMANDS["extract"].params if option.name == "dtype")
    assert {*CODECS} <= {*re.findall(r"\w+", dtype)}


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("extract", "Number of images in one forward pass; at least 1. [default: 32]"),
        ("train", "held out, where STORE has no validation split; above 0, below 1. [default: 0.2]"),
        ("train", "Classes to train, with --extend: new are those that the earlier RUN lacks; allowed: all, new."),
        ("train", "[default: no-halving]"),
        ("score", "allowed: final, none. [default: final]"),
    ],
)
def test_help_says_what_a_stages_settings_allow(icecore, command: str, line: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    page = " ".join(icecore(command, "--help").out.replace("│", " ").split())
    assert line in page
    assert page == " ".join(icecore(command, "--help").out.replace("│", " ").split()), "the same each time"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_option_can_be_read_alone(command: str) -> None:
    """No line leans on another: each has its own subject, and no pronoun but in "without it", which is the option."""
    lines = {option.name: option.help or "" for option in COMMANDS[command].params if option.name != "help"}
    assert {name: line for name, line in lines.items() if len(line.split()) < 4} == {}
    pronoun = re.compile(r"\b(its?|they|them|their|the same)\b")
    assert {name: line for name, line in lines.items() if pronoun.search(line.replace("without it", ""))} == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "extract sklearn:digits s.ice --backbone icecore_nano --dry-run --workers 2",
            "--workers: has no effect with",
        ),
        ("compare s.ice --rows 3 --lr 0.1", "--lr: has no effect with --rows, which trains nothing; leave it out"),
        ("compare s.ice --rows 3 --option lora.rank=2", "--option: has no effect with --rows"),
        ("predict bundle a.png --out a.csv --json", "--json: has no effect with --out, whose ending says the format"),
        ("compare s.ice --methods linear --out o --limit 4", "limit: has no effect on a store, which has its own"),
        ("intrinsic s.ice --out o --img-size 64", "img-size: has no effect on a store, which has its own"),
        (
            "extract sklearn:digits s.ice --backbone icecore_nano --range dark",
            "--range: got 'dark': expected auto",
        ),
    ],
)
def test_an_option_without_effect_is_refused(
    icecore, words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.ice").mkdir()
    (tmp_path / "s.ice" / "zarr.json").touch()
    answer = icecore(*words.split())
    assert answer.code == 2
    assert message in answer.err
