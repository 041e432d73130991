import json
from pathlib import Path


def test_scores_as_json_have_the_keys_that_others_rely_on(icecore, store: Path) -> None:
    found = json.loads(icecore("score", store, "--scores", "ridge,fisher", "--pooling", "cls,mean", "--json").out)
    layers = found["layers"]
    assert [one["layer"] for one in layers] == [0] * 4 + [3] * 4 + [6] * 4
    assert {one["name"] for one in layers} == {"ridge", "fisher"}
    assert all(set(one) == {"layer", "score", "name", "pooling"} for one in layers)


def test_the_table_has_a_row_a_layer_a_star_a_column_and_says_how_to_go_on(icecore, store: Path) -> None:
    answer = icecore("score", store, "--scores", "ridge,knn")
    lines = answer.out.splitlines()
    assert answer.code == 0
    assert lines[0].split() == ["layer", "ridge", "cls+mean", "knn", "cls+mean"]
    assert [line.split()[0] for line in lines[1:4]] == ["0", "3", "6"]
    assert answer.out.count("*") == 2
    assert lines[4] == "train on the best of them with --layers top:3"


def test_wrong_names_are_one_line_and_exit_code_2(icecore, store: Path) -> None:
    answer = icecore("score", store, "--scores", "rigde")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "unknown score 'rigde' (did you mean 'ridge'?)" in answer.err
    answer = icecore("score", store, "--pooling", "max")
    assert answer.code == 2
    assert "--pooling: got 'max': expected 'cls', 'mean' or 'cls+mean'" in answer.err
