"""The command where its output is closed, cut off, full or of few characters: its work and exit code stay the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from icecore.cli import app, main

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
RUN = [sys.executable, "-c", "from icecore.cli import main; main()"]
SAY = "import sys; from icecore.cli.show.streams import open_streams, close_streams; open_streams();"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    words = f"{sys.executable} -c '{SAY}"
    command = command.replace("SAY ", words)
    return subprocess.run(
        ["bash", "-c", command], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code_and_no_file(closed: str, tmp_path: Path) -> None:
    code = f'f = open("{tmp_path}/f", "w"); print("out"); sys.stderr.write("err"); f.write("file"); sys.exit(3)'
    done = shell(f"SAY {code}' {closed}")
    assert done.returncode == 3
    assert (tmp_path / "f").read_text() == "file"  # and not "out": the file did not become standard output
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_nothing(tmp_path: Path) -> None:
    code = f'[print("x" * 1000) for _ in range(1000)]; open("{tmp_path}/done", "w").close(); close_streams()'
    done = shell(f"SAY {code}' | head -1; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "done").exists()


def in_ascii(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "say.py").write_text(f"{SAY}\n{code}\nclose_streams()\n", encoding="utf-8")
    words = [sys.executable, str(tmp_path / "say.py")]
    return subprocess.run(words, env={**os.environ, **ASCII}, capture_output=True, text=True)


def test_typography_has_its_like_in_ascii_and_names_are_escaped(tmp_path: Path) -> None:
    done = in_ascii(tmp_path, r'print("0–12 × ★ █▌ ü 😀 \udcff")')
    assert (done.stdout, done.stderr) == ("0-12 x * #| \\u00fc \\ud83d\\ude00 \\udcff\n", "")


def test_json_in_ascii_is_json(tmp_path: Path) -> None:
    done = in_ascii(tmp_path, r'from icecore.cli.show.terminal import print_json; print_json({"ü": "😀 \udcff –"})')
    assert json.loads(done.stdout) == {"ü": "😀 \udcff –"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    done = subprocess.run(["bash", "-c", '"$@" --version > /dev/full', "-", *RUN], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == ("icecore: error: standard output: No space left on device; what it was to say is lost\n")


@pytest.mark.parametrize("redirected", ["> out", ">&-", "2>&-", "| head -1"])
def test_a_command_answers_in_ascii_wherever_it_is_sent(redirected: str, tmp_path: Path) -> None:
    command = f'cd {tmp_path}; "$@" extract --help {redirected}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command, "-", *RUN], env={**os.environ, **ASCII}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_names_that_are_not_utf_8_are_named_in_one_line(tmp_path: Path) -> None:
    words = [os.fsencode(word) for word in [*RUN, "inspect", f"{tmp_path}/"]]
    words[-1] += b"caf\xe9"
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.startswith("icecore: error: ")
    assert "caf\\udce9" in done.stderr
    assert "Traceback" not in done.stderr


def test_of_a_text_that_is_not_utf_8_the_place_is_shown(icecore, monkeypatch: pytest.MonkeyPatch) -> None:
    def recorded(*_: object, **__: object) -> None:
        ("x" * 500 + "folder:caf\udce9" + "y" * 500).encode()

    monkeypatch.setattr(app, "app", recorded)
    answer = icecore("inspect", "a")
    assert answer.code == 1
    assert r"folder:caf\udce9yyy" in answer.err
    assert len(answer.err) < 150


def test_what_the_system_refuses_is_one_line(icecore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(app, "app", refused)
    answer = icecore("inspect", tmp_path)
    assert (answer.code, answer.err) == (
        1,
        f"icecore: error: {tmp_path}: Permission denied; mend that, then run the same command again\n",
    )


def test_windows_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(app.sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "icecore: error: Windows is not supported; run it on Linux, macOS or WSL\n"


def test_a_page_is_the_same_whatever_the_locale(chosen: Path, tmp_path: Path) -> None:
    for name, locale in (("wide.html", {"PYTHONUTF8": "1"}), ("ascii.html", ASCII)):
        words = [*RUN, "report", str(chosen), "--out", str(tmp_path / name)]
        done = subprocess.run(words, env={**os.environ, **locale}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "ascii.html").read_bytes() == (tmp_path / "wide.html").read_bytes()
