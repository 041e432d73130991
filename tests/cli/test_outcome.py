"""The summary of a selection: families that read one layer, families that read several, ensembles."""

import re
from pathlib import Path

import pytest
from rich.console import Console

from icecore.cli.show import chart
from icecore.cli.show.outcome import Outcome, read_outcome
from icecore.store import UsageError


@pytest.fixture
def outcome(chosen: Path) -> Outcome:
    return read_outcome(chosen)


def test_what_reads_several_layers_has_a_line_of_its_own_below_the_single_ones(outcome: Outcome) -> None:
    rows, leader = outcome.table()
    assert outcome.families == ["inca", "linear", "vqt"]
    assert [row[0] for row in rows] == ["0", "1", "2", "0–2"]
    assert rows[-1][1:3] == ["–", "–"]
    assert rows[0][-1] == "–"
    (member,) = outcome.selected
    assert leader is not None
    assert rows[leader][0] == ("0–2" if len(member["layers"]) > 1 else str(member["layer"]))
    starred = [cell for row in rows for cell in row if "*" in cell]
    assert starred == [f"*{outcome.selection['test']['score']:.1%}"[:-1]]


def test_every_member_of_an_ensemble_is_named_with_its_layers_and_weight(ensemble: Path) -> None:
    outcome = read_outcome(ensemble)
    said = [value for name, value in outcome.facts() if name == "selected"]
    assert len(said) == len(outcome.selected) > 1
    for words, member in zip(said, outcome.selected, strict=True):
        where = "layers 0–2" if len(member["layers"]) > 1 else f"layer {member['layer']}"
        assert words.startswith(f"{member['adapter']} at {where}, weight {member['weight']:.2f}")


def test_without_test_rows_the_table_is_of_validation(outcome: Outcome) -> None:
    selection = outcome.selection
    untested = Outcome(selection | {"test": None, "score_name": "mean_average_precision"})
    assert untested.measure == "Validation mean average precision"
    best = max(row["validation_score"] for row in selection["table"])
    assert any(f"*{100 * best:.1f}" in row for row in untested.table()[0])


def test_a_run_from_which_nothing_was_chosen_is_said(unchosen: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(f"{unchosen}: nothing is selected yet; run icecore select")):
        read_outcome(unchosen)


def test_the_chart_has_a_bar_for_what_is_there_and_no_empty_line(ensemble: Path, monkeypatch, capsys) -> None:
    outcome = read_outcome(ensemble)
    monkeypatch.setattr(chart, "output", lambda: Console(force_terminal=True, color_system=None, width=80))
    chart.print_chart(outcome.families, outcome.accuracies())
    lines = capsys.readouterr().out.splitlines()
    bars = lines[2:]
    assert len(bars) == 3 + 1
    assert bars[-1].startswith("  0–2  █")
    assert all("█" in line or "▏" in line for line in bars)
