"""Videos are no images: every way to give one says so in one line, with how many there are."""

from pathlib import Path

import pytest

from icecore.extract import open_source
from icecore.extract.files.tally import Tally
from icecore.extract.files.video_files import is_clip
from icecore.extract.rows.source_report import source_report
from icecore.live.predict.inputs import images_of
from icecore.store import UsageError

from ..conftest import image_bytes, make_folder

MESSAGE = r"2 video files, first '.*a\.mp4': videos are not read yet; write their frames as images"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for name in ("b.AVI", "a.mp4"):
        path = tmp_path / "clips" / "walk" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\0\0\x20ftypisom")
    return tmp_path / "clips"


@pytest.mark.parametrize("kind", ["", "folder:", "timm:"])
def test_a_folder_of_videos_is_no_source(kind: str, clips: Path) -> None:
    with pytest.raises(UsageError, match=MESSAGE):
        open_source(f"{kind}{clips}")


def test_a_video_is_no_source_and_no_image_to_predict(clips: Path) -> None:
    path = str(clips / "walk" / "a.mp4")
    with pytest.raises(UsageError, match=r"1 video file, first 'a\.mp4': videos are not read yet"):
        open_source(path)
    with pytest.raises(UsageError, match=r"1 video file, first '.*a\.mp4': videos are not read yet"):
        images_of(path, Tally())
    with pytest.raises(UsageError, match=MESSAGE):
        images_of(str(clips), Tally())


def test_a_manifest_of_videos_is_refused(clips: Path) -> None:
    manifest = clips / "list.csv"
    manifest.write_text("path,label,split\nwalk/a.mp4,x,train\nwalk/b.AVI,y,test\nc.jpg,y,test\n")
    (clips / "c.jpg").write_bytes(image_bytes(0))
    with pytest.raises(UsageError, match="2 video files, first 'walk/"):
        open_source(f"csv:{manifest}")


def test_a_video_among_images_is_counted_as_left_out(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "images")
    (tmp_path / "images" / "train" / "ant" / "x.mov").write_bytes(b"")
    opened = open_source(source)
    (found,) = source_report(opened.tally, opened.samples, opened.classes).passed_over
    assert found.count == 1
    assert found.what.startswith("files ending in .mov: videos are not read yet")


def test_images_are_no_videos() -> None:
    assert not any(map(is_clip, ("a.jpg", "mp4", "a.mp4.png", "a.gif", "")))
