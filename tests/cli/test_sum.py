"""From the command line, the sum over layers beside layers: it is called so, and no figure runs to its number."""

import re
from pathlib import Path


def test_a_page_about_layers_and_their_sum(icecore, tmp_path: Path) -> None:
    store, run = tmp_path / "a.ice", tmp_path / "run"
    extraction = (
        "extract",
        "sklearn:digits",
        store,
        "--backbone",
        "icecore_nano",
        "--limit",
        90,
        "--layers",
        "1,3,sum",
    )
    training = ("train", store, "--out", run, "--adapters", "linear,mist", "--epochs", 2, "--lr", "1e-2")
    for words in (extraction, training, ("select", run), ("report", run)):
        answer = icecore(*words)
        assert answer.code == 0, answer.err
        if words[0] == "select":
            assert "mist at layer sum" in answer.out
    page = (run / "report.html").read_text()
    assert not re.findall(r">\s*[2-9]\d\d\s*</text>", page)  # the ticks of an axis that runs to 999
    assert ">999<" not in page
