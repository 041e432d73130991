"""An adapter that diverged has no score: it leads nothing, not even among scores below zero, and stands last."""

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icecore.cli.report.findings import read_findings
from icecore.cli.report.tables import by_layer, sweep
from icecore.train import open_run

from .conftest import Icecore


@pytest.fixture
def hopeless(icecore: Icecore, tmp_path: Path) -> Path:
    """A run that learnt numbers which no image shows, with one learning rate that no adapter can bear."""
    chance = np.random.default_rng(0)
    with (tmp_path / "noise.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        for place in range(40):
            pixels = chance.integers(0, 256, (32, 32, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / f"{place}.png")
            rows.writerow([f"{place}.png", chance.random(), "test" if place % 5 == 0 else "train"])
    words = ("--backbone", "icecore_nano", "--tokens", "cls", "--layers", "1,2", "--target", "regression")
    said = icecore("extract", f"csv:{tmp_path / 'noise.csv'}", tmp_path / "s.ice", *words, "--label-column", "label")
    assert said.code == 0, said.err
    words = ("--adapters", "linear", "--lr", "1e-2,1e30", "--weight-decay", "0", "--epochs", "3")
    said = icecore("train", tmp_path / "s.ice", "--out", tmp_path / "r", *words)
    assert said.code == 0, said.err
    assert "2 diverged" in said.out
    return tmp_path / "r"


def test_it_has_no_score_and_stands_last_in_every_table(icecore: Icecore, hopeless: Path) -> None:
    ended = [row for row in open_run(str(hopeless)).results.to_pylist() if row["status"].startswith("diverged")]
    assert len(ended) == 2
    assert all(math.isnan(row["validation_score"]) for row in ended)
    findings = read_findings(hopeless)
    finished = [each for each in findings.trained if each.status == "ok"]
    assert findings.leader == max(finished, key=lambda each: each.score or 0.0)
    assert (findings.leader.score or 0.0) < 0  # below what used to stand for an adapter that diverged
    assert {one.adapter_id for one in findings.standings} == {each.adapter_id for each in finished}
    assert all(cell["validation"].startswith("-") for row in by_layer(findings) for cell in row["cells"])
    cells = [cell.text for row in sweep(findings, "linear").rows for cell in row["cells"]]
    assert cells.count("diverged") == 2
    assert sum(text.startswith("-") for text in cells) == 2

    assert icecore("report", hopeless).code == 0
    page = (hopeless / "report.html").read_text()
    listed = page[page.index("trained adapters</summary>") :].partition("</tbody>")[0]
    assert re.findall(r'<td class="text">(ok|diverged)', listed) == ["ok", "ok", "diverged", "diverged"]
    assert listed.count("<td>–</td>") == 2

    assert icecore("select", hopeless, "--selector", "average").code == 0
    assert {one["adapter_id"] for one in read_findings(hopeless).selection["selected"]} <= {  # pyright: ignore
        each.adapter_id for each in finished
    }
