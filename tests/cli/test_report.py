import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from icecore.cli.report.findings import read_findings
from icecore.cli.report.page import write_report
from icecore.cli.report.pictures import pictures
from icecore.store import open_store
from icecore.train import Selection, SelectSettings, TrainSettings, open_run, read_chosen, select, train

from .browser import Browser
from .conftest import BACKBONE, GRID, Icecore, make_run, succeed

ONE: dict[str, Any] = GRID | {"lr": (1e-2,), "weight_decay": (0.01,), "pooling": ("mean",), "epochs": 2}


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


def written(icecore: Icecore, *runs: Path, out: Path) -> str:
    """The page of some runs."""
    answer = icecore("report", *runs, "--out", out)
    assert (answer.code, answer.out) == (0, f"{out}\n"), answer.err
    return out.read_text()


def percents(value: float) -> str:
    return f"{100 * value:.1f}"


def chosen_of(run: Path) -> Selection:
    found = read_chosen(str(run))
    assert found is not None
    return found.selection


@pytest.fixture(scope="module")
def page(chosen: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run, made once."""
    return write_report([chosen], tmp_path_factory.mktemp("page") / "page.html").read_text()


def test_the_page_lies_in_its_run_unless_told_otherwise(icecore: Icecore, unchosen: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(unchosen, tmp_path / "run"))
    answer = icecore("report", run)
    assert (answer.code, answer.out) == (0, f"{run}/report.html\n")
    before = (run / "report.html").read_text()
    assert icecore("report", run).code == 0
    assert (run / "report.html").read_text() == before, "the same run makes the same page"


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    assert not re.search(r"https?:|//\w|@import|url\((?!#)", re.sub(r"base64,[\w+/=]+", "", page))
    assert all(address.startswith(("#", "data:")) for address in Page(page).addresses)


def test_runs_stand_side_by_side_under_their_names_and_every_reference_resolves(
    icecore: Icecore, chosen: Path, unchosen: Path, tmp_path: Path
) -> None:
    page = written(icecore, chosen, unchosen, out=tmp_path / "both.html")
    test = chosen_of(chosen).test
    assert test is not None
    figure = f"{percents(test.score)} ({percents(test.low)}–{percents(test.high)})"
    assert f'<th class="text">test</th><td class="text">{figure}</td><td class="text">–</td>' in page
    assert '<a href="#run-2">2 other &amp; co</a>' in page
    assert "not selected" in page
    assert page.count("<article") == 2
    parsed = Page(page)
    wanted = {address[1:] for address in parsed.addresses if address.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert {"run-1", "run-2"} <= wanted <= set(parsed.ids)
    assert len(set(parsed.ids)) == len(parsed.ids)


def test_the_page_says_what_was_selected_and_how_sure_that_is(page: str, chosen: Path) -> None:
    text, selection = words(page), chosen_of(chosen)
    assert selection.test is not None
    assert selection.honest is not None
    (member,) = selection.selected
    where = f"{member.adapter} on 3 layers" if len(member.layers) > 1 else f"Layer {member.layer} with {member.adapter}"
    assert f"{where} reaches {percents(selection.test.score)}" in text
    interval = f"{percents(selection.test.low)} to {percents(selection.test.high)}, {selection.test.num_rows} rows"
    assert interval in text
    assert "read once, after the choice" in text
    assert f"{percents(selection.honest.score)} %50 choices made again" in text


def test_the_sweep_has_a_cell_for_every_layer_and_configuration(page: str, chosen: Path) -> None:
    candidates = open_run(str(chosen)).candidates
    kept = len(re.findall(r"<th>vqt, keep [\d.]+</th>", page)) * 3
    assert page.count("--heat:") == len(candidates) + kept
    assert page.count('class="chosen"') == 2  # in the table by layer and in the sweep


def test_a_family_of_all_layers_is_a_line_across_and_a_row_of_its_own(page: str) -> None:
    assert "layer 0–2" in words(page)
    assert re.search(r"<th>0–2</th><td></td><td></td><td( class=\"chosen\")?>[\d.]+ → [\d.]+</td>", page)


def test_an_ensemble_shows_its_weights_and_its_cost(icecore: Icecore, ensemble: Path, tmp_path: Path) -> None:
    page, selection = written(icecore, ensemble, out=tmp_path / "page.html"), chosen_of(ensemble)
    assert len(selection.selected) > 1
    assert f"An ensemble of {len(selection.selected)} adapters" in words(page)
    shares = [f"--share: {round(100 * member.weight, 1)}%" for member in selection.selected]
    assert [page.count(share) for share in set(shares)] == [shares.count(share) for share in set(shares)]
    cost = selection.cost
    assert f"deepest layer of the choice{cost.deepest_layer} of {cost.num_blocks}" in words(page).replace("\n", "")


def test_the_most_confused_pairs_and_the_surest_mistakes_come_first(page: str, chosen: Path) -> None:
    rows = pq.read_table(chosen / "test.parquet").to_pylist()
    wrong = sorted((row for row in rows if row["label"] != row["prediction"]), key=lambda row: -row["probability"])
    assert len(wrong) > 12, "else the page has nothing to choose from"
    assert re.findall(r"<small>(\d+\.png)</small>", page) == [row["key"] for row in wrong[:12]]
    counts = Counter((row["label"], row["prediction"]) for row in wrong)
    pairs = re.findall(
        r"<td class=\"text\">sign (\d+) &lt;b&gt;&amp;</td>.*sign (\d+) .*<td>(\d+)</td><td>\d+</td>", page
    )
    found = [(int(label), int(prediction), int(count)) for label, prediction, count in pairs]
    assert found == [(*pair, counts[pair]) for pair in sorted(counts, key=lambda pair: (-counts[pair], pair))[:12]]


def test_without_its_store_the_page_says_what_is_missing(page: str) -> None:
    text = words(page)
    assert "No pictures: the store was not there when this page was made." in text
    assert "The store was not there when this page was made." in text
    assert "not reachable when this page was made" in text
    assert page.count("no picture</div>") == 12


def test_the_commands_make_the_run_again(page: str, chosen: Path) -> None:
    text = words(page)
    store = open_run(str(chosen)).facts["store"]
    assert f"icecore train {store} --out {chosen} --adapters linear,inca,vqt" in text
    assert "--lr 0.01,0.003 --weight-decay 0.01,0.3 --heads 4 --epochs 4" in text
    assert f"icecore select {chosen} --selector best --top 3 --num-resamples 100 --device cpu" in text


def test_colours_are_the_style_sheets(page: str) -> None:
    figures = page[page.index("<svg") :]
    assert "var(--accent)" in figures
    assert "var(--series-3)" in figures
    assert not re.search(r"(stroke|fill): #", figures)


def test_before_select_the_page_shows_validation_only(icecore: Icecore, unchosen: Path, tmp_path: Path) -> None:
    text = written(icecore, unchosen, out=tmp_path / "early.html")
    assert "Nothing is selected yet" in text
    assert "test accuracy" not in text


def test_without_test_rows_the_page_says_so(icecore: Icecore, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "linear", "best", ONE, num_rows=60, splits=["train"] * 60, classes=("a", "b"))
    page = written(icecore, run, out=tmp_path / "page.html")
    assert "There is no test split with labels." in page
    assert "has not measured test rows of one class each" in page


def test_a_target_of_several_labels_has_its_own_measure_and_no_confusion(icecore: Icecore, tmp_path: Path) -> None:
    targets = [(float(row % 2), float(row % 3 == 0)) for row in range(61)]
    given: dict[str, Any] = {"num_rows": 61, "targets": targets, "target": "multilabel", "classes": ("even", "third")}
    run = make_run(tmp_path / "run", "linear", "best", ONE, **given)
    text = words(written(icecore, run, out=tmp_path / "page.html"))
    assert "Mean average precision by layer" in text
    assert "has not measured test rows of one class each" in text


def test_a_choice_from_before_a_training_is_told_and_not_shown(icecore: Icecore, tmp_path: Path) -> None:
    run, url = make_run(tmp_path / "run", "linear", "best", ONE), str(tmp_path / "run.ice")
    Path(f"{url}.gone").rename(url)
    train(url, str(run), TrainSettings.model_validate(ONE | {"lr": (1e-2, 3e-2), "adapters": ("linear",)}))
    answer = icecore("report", run)
    assert answer.code == 0
    assert answer.err == f"note: {run} was trained further since the selection; run icecore select {run} again\n"
    text = words((run / "report.html").read_text())
    assert "The choice in this folder was made before this training and is not shown." in text
    assert "→" not in text
    assert [one.test for one in read_findings(run).standings] == [None] * 3
    select(str(run), SelectSettings(selector="best", num_resamples=100))
    assert not read_findings(run).is_stale
    assert read_findings(run).selection is not None


def test_who_diverged_is_last_marked_and_leads_nothing(icecore: Icecore, tmp_path: Path) -> None:
    noise = [(value,) for value in torch.randn(80, generator=torch.Generator().manual_seed(0)).tolist()]
    given: dict[str, Any] = {"num_rows": 80, "targets": noise, "target": "regression", "classes": ("y",)}
    grid = ONE | {"lr": (1e30, 1e-2), "weight_decay": (0.0,)}
    run = make_run(tmp_path / "run", "linear", None, grid, **(given | {"planted": None}))
    found = read_findings(run)
    assert {one.status.split()[0] for one in found.trained} == {"ok", "diverged"}
    scores = [one.score for one in found.trained if one.score is not None]
    assert max(scores) < 0, "else whoever counts 0 does not lead"
    assert found.leader.status == "ok"
    by_id = {one.adapter_id: one for one in found.trained}
    assert all(by_id[one.adapter_id].status == "ok" for one in found.standings)
    page = written(icecore, run, out=tmp_path / "page.html")
    assert page.count('%">diverged</td>') == 3
    statuses = re.findall(r"<td class=\"text\">(ok|diverged)[^<]*</td></tr>", page)
    assert statuses == sorted(statuses, reverse=True)


def test_a_run_in_which_none_finished_is_told_in_a_line(icecore: Icecore, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "linear", None, ONE | {"lr": (1e30,)})
    answer = icecore("report", run)
    assert answer.code == 1
    assert answer.err.endswith(f"{run}: no adapter finished its training; see status in results.parquet, lower --lr\n")


def test_names_from_the_data_cannot_break_the_page(icecore: Icecore, page: str, tmp_path: Path) -> None:
    assert "<b>" not in page
    names = tuple(f"</svg>$x_{number}$<script>" for number in range(19))
    run = make_run(tmp_path / "<script>alert(1)<", "linear,inca", "best", classes=names)
    hostile = written(icecore, run, out=tmp_path / "page.html")
    assert hostile.count("<script>") == 1
    assert hostile.count("</svg>") == page.count("</svg>")


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
    icecore, chosen: Path, real: Path, tmp_path: Path, browser: Browser, width: int
) -> None:
    path = tmp_path / "page.html"
    assert icecore("report", chosen, real, "--out", path).code == 0
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
