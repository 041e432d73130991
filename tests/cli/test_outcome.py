"""The summary of a selection: families that read one layer, families that read several, ensembles."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from icecore.cli import chart
from icecore.cli.outcome import Outcome, read_outcome


@pytest.fixture
def outcome(invented: Path) -> Outcome:
    return read_outcome(invented)


def test_what_reads_several_layers_has_a_line_of_its_own_below_the_single_ones(outcome: Outcome) -> None:
    rows, leader = outcome.table()
    assert outcome.families == ["inca", "linear", "vqt"]
    assert [row[0] for row in rows] == [*map(str, range(13)), "0–12"]
    assert rows[-1][1:3] == ["–", "–"]
    assert rows[0][-1] == "–"
    assert leader == 5
    assert [cell for row in rows for cell in row if "*" in cell] == [f"*{outcome.selection['test']['score']:.1%}"[:-1]]


def test_every_member_of_an_ensemble_is_named_with_its_layers_and_weight(invented: Path) -> None:
    selection = json.loads((invented / "selection.json").read_text())
    some = [row for row in selection["table"] if row["layer"] in (5, 12)]
    members = [row | {"weight": 0.25} for row in some][:5]
    facts = Outcome(selection | {"selected": members}).facts()
    said = [value for name, value in facts if name == "selected"]
    assert said[0].startswith("inca at layer 5, weight 0.25")
    assert said[-1].startswith("vqt at layers 0–12, weight 0.25")


def test_without_test_rows_the_table_is_of_validation(invented: Path) -> None:
    selection = json.loads((invented / "selection.json").read_text())
    outcome = Outcome(selection | {"test": None, "score_name": "mean_average_precision"})
    assert outcome.measure == "Validation mean average precision"
    best = max(row["validation_score"] for row in selection["table"])
    assert any(f"*{100 * best:.1f}" in row for row in outcome.table()[0])


def test_the_chart_has_a_bar_for_what_is_there_and_no_empty_line(outcome: Outcome, monkeypatch, capsys) -> None:
    monkeypatch.setattr(chart, "output", lambda: Console(force_terminal=True, color_system=None, width=80))
    chart.print_chart(outcome.families, outcome.accuracies())
    lines = capsys.readouterr().out.splitlines()
    bars = lines[2:]
    assert len(bars) == 13 * 2 + 1
    assert bars[-1].startswith(" 0–12  █")
    assert all("█" in line or "▏" in line for line in bars)
