import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from icecore.cli.report.pictures import pictures
from icecore.store import open_store

from .browser import Browser
from .conftest import BACKBONE, make_run, succeed


class Page(HTMLParser):
    """All addresses and identifiers of a page."""

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


def words(page: str) -> str:
    return re.sub(r"<[^>]+>", "", page)


@pytest.fixture
def page(icecore, invented: Path) -> str:
    answer = icecore("report", invented)
    assert answer.code == 0, answer.err
    assert answer.out == f"{invented}/report.html\n"
    return (invented / "report.html").read_text()


@pytest.fixture
def changed(icecore, invented: Path) -> Callable[..., str]:
    """Write the page of the invented run after some of its selection was changed."""

    def change(**fields: object) -> str:
        path = invented / "selection.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
        assert icecore("report", invented).code == 0
        return (invented / "report.html").read_text()

    return change


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    assert not re.search(r"https?:|//\w|@import|url\((?!#)", re.sub(r"base64,[\w+/=]+", "", page))
    assert all(address.startswith(("#", "data:")) for address in Page(page).addresses)


def test_every_reference_inside_the_page_resolves_to_one_element(icecore, invented: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", selected=False)
    assert icecore("report", invented, other, "--out", tmp_path / "both.html").code == 0
    page = (tmp_path / "both.html").read_text()
    parsed = Page(page)
    wanted = {address[1:] for address in parsed.addresses if address.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert {"run-1", "run-2"} <= wanted <= set(parsed.ids)
    assert len(set(parsed.ids)) == len(parsed.ids)


def test_runs_stand_side_by_side_under_their_names(icecore, invented: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other & co", num_layers=5, selected=False)
    assert icecore("report", invented, other, "--out", tmp_path / "both.html").code == 0
    page = (tmp_path / "both.html").read_text()
    assert re.search(
        r"<th class=\"text\">test</th><td class=\"text\">87.2 \(85.2–89.2\)</td><td class=\"text\">–</td>", page
    )
    assert '<a href="#run-2">2 other &amp; co</a>' in page
    assert "not selected" in page
    assert page.count("<article") == 2
    assert not (invented / "report.html").exists()


def test_the_page_says_what_was_selected_and_how_sure_that_is(page: str) -> None:
    text = words(page)
    assert "Layer 5 with inca reaches 87.2" in text
    assert "85.2 to 89.2, 907 rows" in text
    assert "read once, after the choice" in text
    assert "88.0 %50 choices made again" in text


def test_the_sweep_has_a_cell_for_every_layer_and_configuration(page: str) -> None:
    assert page.count("--heat:") == 13 * (8 + 4) + 4
    assert page.count('class="chosen"') == 2  # in the table by layer and in the sweep


def test_a_family_of_all_layers_is_a_line_across_and_a_row_of_its_own(page: str) -> None:
    assert "layer 0–12" in words(page)
    assert re.search(r"<th>0–12</th><td></td><td></td><td>[\d.]+ → [\d.]+</td>", page)


def test_an_ensemble_shows_its_weights_and_its_cost(changed, invented: Path) -> None:
    table = json.loads((invented / "selection.json").read_text())["table"]
    some = [row for row in table if row["layer"] in (4, 12)][:3]
    selected = [row | {"weight": weight} for row, weight in zip(some, (0.5, 0.3, 0.2), strict=True)]
    page = changed(selected=selected)
    assert "An ensemble of 3 adapters" in words(page)
    assert [f"--share: {share}%" in page for share in (50.0, 30.0, 20.0)] == [True] * 3
    assert "deepest layer of the choice5 of 12" in words(page).replace("\n", "")


def test_the_most_confused_pairs_and_the_surest_mistakes_come_first(page: str) -> None:
    mistakes = re.findall(r"<small>(test/\d+)</small>", page)
    assert mistakes == [f"test/{9 * place}" for place in range(12)]
    assert re.search(r"<td class=\"text\">sign \d+ &lt;b&gt;&amp;</td>.*<td>\d</td><td>\d</td>", page)


def test_without_its_store_the_page_says_what_is_missing(page: str) -> None:
    text = words(page)
    assert "No pictures: the store was not there when this page was made." in text
    assert "The store was not there when this page was made." in text
    assert "not reachable when this page was made" in text
    assert page.count("no picture</div>") == 12


def test_the_commands_make_the_run_again(page: str, invented: Path) -> None:
    text = words(page)
    assert f"icecore train gtsrb.ice --out {invented} --adapters linear,inca,vqt" in text
    assert "--weight-decay 0.01,0.3 --epochs 20" in text
    assert f"icecore select {invented} --selector best --max-layer 6" in text


def test_colours_are_the_style_sheets(page: str) -> None:
    figures = page[page.index("<svg") :]
    assert "var(--accent)" in figures
    assert "var(--series-3)" in figures
    assert not re.search(r"(stroke|fill): #", figures)


def test_before_select_the_page_shows_validation_only(icecore, invented: Path) -> None:
    (invented / "selection.json").unlink()
    assert icecore("report", invented, "--out", invented / "early.html").code == 0
    text = (invented / "early.html").read_text()
    assert "Nothing is selected yet" in text
    assert "test accuracy" not in text


def test_without_test_rows_the_page_says_so(changed, invented: Path) -> None:
    none = dict.fromkeys(("test_score", "test_low", "test_high"))
    table = [row | none for row in json.loads((invented / "selection.json").read_text())["table"]]
    pq.write_table(pq.read_table(invented / "test.parquet").slice(0, 0), invented / "test.parquet")
    page = changed(test=None, table=table)
    assert "There is no test split with labels." in page
    assert "has not measured test rows of one class each" in page


def test_a_target_of_several_labels_has_its_own_measure_and_no_confusion(changed, invented: Path) -> None:
    rows = [{"row": 0, "key": "a", "label": [0.0, 1.0], "prediction": [0.1, 0.8]}]
    pq.write_table(pa.Table.from_pylist(rows), invented / "test.parquet")
    text = words(changed(score_name="mean_average_precision"))
    assert "Mean average precision by layer" in text
    assert "has not measured test rows of one class each" in text


def test_a_selection_of_an_earlier_training_is_refused(icecore, invented: Path) -> None:
    selection = json.loads((invented / "selection.json").read_text())
    selection["selected"][0]["adapter_id"] = "gone"
    (invented / "selection.json").write_text(json.dumps(selection))
    answer = icecore("report", invented)
    assert answer.code == 1
    assert "chooses adapters that" in answer.err
    assert f"icecore select {invented}" in answer.err


def test_names_from_the_data_cannot_break_the_page(icecore, invented: Path, page: str) -> None:
    assert "<b>" not in page
    facts = json.loads((invented / "run.json").read_text())
    facts["store"] = "<script>alert(1)</script>.ice"
    facts["classes"] = [f"</svg>$x_{number}$<script>" for number in range(20)]
    (invented / "run.json").write_text(json.dumps(facts))
    tested = pq.read_table(invented / "test.parquet").to_pylist()
    few = [row | {"label": row["label"] % 20, "prediction": row["prediction"] % 20} for row in tested]
    pq.write_table(pa.Table.from_pylist(few), invented / "test.parquet")
    assert icecore("report", invented).code == 0
    hostile = (invented / "report.html").read_text()
    assert hostile.count("<script>") == 1
    assert hostile.count("</svg>") == page.count("</svg>")


def test_the_same_run_makes_the_same_page(icecore, invented: Path, page: str) -> None:
    icecore("report", invented)
    assert (invented / "report.html").read_text() == page


def test_a_folder_without_a_run_is_refused(icecore, tmp_path: Path) -> None:
    answer = icecore("report", tmp_path)
    assert answer.code == 2
    assert "is not a run" in answer.err


@pytest.fixture(scope="module")
def real(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that looks, on a store whose pictures are at hand."""
    path = tmp_path_factory.mktemp("runs") / "looking"
    words = ("--epochs", 2, "--lr", "1e-2", "--weight-decay", 0.01)
    succeed("train", store, "--out", path, "--adapters", "inca,head2toe", *words)
    succeed("select", path, "--selector", "average", "--top", 3)
    return path


def test_a_real_run_has_pictures_scores_and_attention(icecore, real: Path) -> None:
    assert icecore("report", real).code == 0
    page = (real / "report.html").read_text()
    text = words(page)
    assert "Kendall’s tau over the layers: inca" in text
    assert len(re.findall(r'<li>\s*<img src="data:image/jpeg', page)) == len(re.findall(r"<br>is ", page)) > 0
    assert len(re.findall(r"<small>head \d</small>", page)) == 5
    assert "icecore extract sklearn:digits" in text
    assert "Which features are kept" in text
    assert re.search(r"<th>head2toe, keep 0\.\d+</th>", page)


def test_pictures_are_found_in_a_source_whose_columns_the_user_named(checkpoint: Path, tmp_path: Path) -> None:
    lines = ["path,kind,part"]
    for number in range(4):
        Image.new("RGB", (40, 40), (60 * number, 0, 0)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{number % 2},train")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    source, url = f"csv:{tmp_path / 'list.csv'}", tmp_path / "s.ice"
    named = ("--label-column", "kind", "--split-column", "part")
    succeed("extract", source, url, "--backbone", BACKBONE, "--checkpoint", checkpoint, "--layers", "6", *named)
    look = pictures(open_store(str(url)))
    assert callable(look)
    found = [look(row) for row in range(4)]
    assert [image and image.getpixel((0, 0)) for image in found] == [(60 * number, 0, 0) for number in range(4)]


def test_without_its_source_a_run_keeps_all_but_the_pictures(icecore, real: Path, monkeypatch) -> None:
    from icecore.extract import sources

    monkeypatch.delitem(sources.SOURCES, "sklearn")
    assert icecore("report", real, "--out", real / "bare.html").code == 0
    text = words((real / "bare.html").read_text())
    assert "No pictures: the source sklearn:digits could not be opened when this page was made" in text
    assert "Nothing to show without the store and its pictures." in text
    assert "Kendall’s tau over the layers: inca" in text


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_in_a_browser_nothing_is_missing_or_cut_and_nothing_complains(
    icecore, invented: Path, real: Path, tmp_path: Path, browser: Browser, width: int
) -> None:
    path = tmp_path / "page.html"
    assert icecore("report", invented, real, "--out", path).code == 0
    seen = browser(path, width)
    assert seen.console == []
    assert seen.num_images > 5
    assert seen.missing_images == []
    assert seen.scroll_width <= width
    assert seen.smallest_text_px >= 9.5
    assert seen.outside == []


def test_the_browser_tells_a_bad_page(tmp_path: Path, browser: Browser) -> None:
    bad = '<img src="data:image/png;base64,AAAA"><p style="width:2000px">wide</p><script>console.error("no")</script>'
    (tmp_path / "bad.html").write_text(f"<!doctype html><body>{bad}</body>")
    seen = browser(tmp_path / "bad.html", 390)
    assert any("no" in line for line in seen.console)
    assert seen.scroll_width > 390
    assert len(seen.missing_images) == 1


@pytest.fixture
def browser() -> Browser:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed: pages are not looked at")
    return Browser()
