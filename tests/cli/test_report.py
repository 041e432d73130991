import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest


class Page(HTMLParser):
    """All addresses and identifiers of a page, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "action", "data"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")


@pytest.fixture
def page(icecore, invented: Path) -> str:
    answer = icecore("report", invented)
    assert answer.code == 0
    assert answer.out == f"{invented}/report.html\n"
    return (invented / "report.html").read_text()


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    assert not re.search(r"https?:|//\w|@import|url\((?!#)", page)
    assert all(address.startswith(("#", "data:")) for address in Page(page).addresses)


def test_every_reference_inside_the_page_resolves_to_one_element(page: str) -> None:
    parsed = Page(page)
    wanted = {address[1:] for address in parsed.addresses if address.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert wanted <= set(parsed.ids)
    assert len(set(parsed.ids)) == len(parsed.ids)


def test_the_page_says_what_was_selected_and_how_sure_that_is(page: str) -> None:
    text = re.sub(r"<[^>]+>", "", page)
    assert "Layer 5 with inca reaches 87.2" in text
    assert "86.5 to 90.3, 907 rows" in text
    assert "read once, after the choice" in text


def test_the_sweep_has_a_cell_for_every_layer_and_configuration(page: str) -> None:
    assert page.count("--heat:") == 13 * (8 + 4)
    assert page.count('class="chosen"') == 2  # in the table by layer and in the sweep


def test_colours_are_the_style_sheets(page: str) -> None:
    figures = page[page.index("<svg") :]
    assert "var(--accent)" in figures
    assert not re.search(r"(stroke|fill): #", figures)


def test_before_select_the_page_shows_validation_only(icecore, invented: Path) -> None:
    (invented / "selection.json").unlink()
    assert icecore("report", invented, "--out", invented / "early.html").code == 0
    text = (invented / "early.html").read_text()
    assert "Nothing is selected yet" in text
    assert "test accuracy" not in text


def test_without_test_rows_the_page_says_so(icecore, invented: Path) -> None:
    selection = json.loads((invented / "selection.json").read_text()) | {"test": None}
    selection["table"] = [row | {"test_score": None} for row in selection["table"]]
    (invented / "selection.json").write_text(json.dumps(selection))
    assert icecore("report", invented).code == 0
    assert "There is no test split with labels." in (invented / "report.html").read_text()


def test_a_selection_of_an_earlier_training_is_refused(icecore, invented: Path) -> None:
    selection = json.loads((invented / "selection.json").read_text())
    selection["selected"][0]["adapter_id"] = "gone"
    (invented / "selection.json").write_text(json.dumps(selection))
    answer = icecore("report", invented)
    assert answer.code == 1
    assert "chooses adapters that" in answer.err
    assert f"icecore select {invented}" in answer.err


def test_names_from_the_data_cannot_break_the_page(icecore, invented: Path) -> None:
    facts = json.loads((invented / "run.json").read_text())
    facts["store"] = "<script>alert(1)</script>.ice"
    (invented / "run.json").write_text(json.dumps(facts))
    icecore("report", invented)
    assert "<script>alert" not in (invented / "report.html").read_text()


def test_the_same_run_makes_the_same_page(icecore, invented: Path, page: str) -> None:
    icecore("report", invented)
    assert (invented / "report.html").read_text() == page
