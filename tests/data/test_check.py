"""The check finds what was planted, and nothing in a whole data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from peclip.data.check import check_dataset
from peclip.data.face_share import measure_face_share
from peclip.errors import ConfigError, DatasetError
from peclip.video.detectors.haar import HaarDetector
from peclip.video.faces import FaceBox


def frame_folder(folder: Path, count: int, side: int = 32) -> None:
    folder.mkdir(parents=True)
    image = PIL.Image.fromarray(np.full((side, side, 3), 99, dtype=np.uint8))
    for number in range(count):
        image.save(folder / f"{number:03d}.jpg")


def write_list(root: Path, fold: int, split: str, lines: list[str]) -> None:
    (root / f"DFEW_set_{fold}_{split}.txt").write_text("\n".join(lines))


@pytest.fixture
def dfew(tmp_path: Path) -> Path:
    """Two folds of four whole videos."""
    for number in range(4):
        frame_folder(tmp_path / "DFEW_Frame_Face" / f"0000{number}", 20)
    lines = [f"/x/DFEW_Frame_Face/0000{number} 20 {number}" for number in range(4)]
    write_list(tmp_path, 1, "train", lines[:3])
    write_list(tmp_path, 1, "test", lines[3:])
    return tmp_path


def findings(root: Path, **options: object) -> list[tuple[str, str]]:
    report = check_dataset("dfew", root, fold=1, **options)
    return [(finding.kind, finding.where) for finding in report.findings]


class Detector:
    """Finds one face of a given part of the frame, or none."""

    name = "fake"

    def __init__(self, share: float | None) -> None:
        self.share, self.calls = share, 0

    def detect(self, image: np.ndarray) -> list[FaceBox]:
        self.calls += 1
        if self.share is None:
            return []
        height, width = image.shape[:2]
        return [
            FaceBox(0, 0, 1, 1, 0.9),
            FaceBox(0, 0, width * self.share**0.5, height * self.share**0.5, 0.8),
        ]


def test_a_complete_data_set_has_no_problems(dfew: Path) -> None:
    progress: list[tuple[int, int]] = []
    report = check_dataset("dfew", dfew, fold=1, on_progress=lambda *at: progress.append(at))
    assert report.ok
    assert report.findings == ()
    assert report.videos == 4
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [(s.title, s.samples) for s in report.splits] == [
        ("dfew fold 1 train", 3),
        ("dfew fold 1 test", 1),
    ]
    assert report.splits[1].counts["anger"] == 1
    document = json.loads(json.dumps(report.to_dict()))
    assert document["ok"] is True
    assert document["splits"][0]["counts"]["happiness"] == 1
    assert document["faces"] is None


def test_a_missing_folder(dfew: Path) -> None:
    (dfew / "DFEW_Frame_Face" / "00001").rename(dfew / "gone")
    assert findings(dfew) == [("missing", "00001")]


def test_an_empty_folder(dfew: Path) -> None:
    for path in (dfew / "DFEW_Frame_Face" / "00001").iterdir():
        path.unlink()
    assert findings(dfew) == [("empty", "00001")]


def test_a_wrong_frame_count(dfew: Path) -> None:
    (dfew / "DFEW_Frame_Face" / "00002" / "019.jpg").unlink()
    report = check_dataset("dfew", dfew, fold=1)
    assert [(f.kind, f.where) for f in report.findings] == [("frame_count", "00002")]
    assert report.findings[0].detail.startswith("19 frames in ")
    assert report.findings[0].detail.endswith("00002, but 20 in the list")


def test_a_short_video_is_a_note(dfew: Path) -> None:
    frame_folder(dfew / "DFEW_Frame_Face" / "00009", 15)
    write_list(dfew, 1, "test", ["00009 15 0", "00003 20 3"])
    report = check_dataset("dfew", dfew, fold=1)
    assert [(f.kind, f.where) for f in report.findings] == [("short", "00009")]
    assert report.ok


def test_duplicates_and_contradictions(dfew: Path) -> None:
    write_list(dfew, 1, "test", ["00003 20 3", "00003 20 3", "00003 20 4"])
    assert sorted(findings(dfew)) == [
        ("conflict", "00003"),
        ("duplicate", "00003"),
        ("duplicate", "00003"),
    ]


def test_a_video_in_two_splits(dfew: Path) -> None:
    write_list(dfew, 1, "test", ["00003 20 3", "00000 20 0"])
    report = check_dataset("dfew", dfew, fold=1)
    assert [(f.kind, f.where) for f in report.findings] == [("overlap", "00000")]
    assert report.findings[0].detail == "the video is in dfew fold 1 train and in dfew fold 1 test"


def test_test_splits_of_all_folds_must_be_disjoint(dfew: Path) -> None:
    lines = [f"0000{number} 20 {number}" for number in range(4)]
    for fold in range(2, 6):
        write_list(dfew, fold, "train", lines[1:])
        write_list(dfew, fold, "test", lines[:1])
    report = check_dataset("dfew", dfew)
    assert {(f.kind, f.where) for f in report.findings} == {("overlap", "00000")}
    assert len(report.findings) == 6  # the pairs of four folds
    assert (len(report.splits), report.videos) == (10, 4)


def test_a_person_in_two_splits(tmp_path: Path, astronaut: Path) -> None:
    table = tmp_path / "labels.csv"
    rows = ["a,happy,train,ann", "b,sad,train,bob", "c,sad,test,bob", "d,sad,test,"]
    for name in "abcd":
        frame_folder(tmp_path / name, 16)
    table.write_text("\n".join(["path,label,split,subject", *rows]))
    report = check_dataset("table", tmp_path, table)
    assert [(f.kind, f.where) for f in report.findings] == [("overlap", "subject bob")]
    assert [split.subjects for split in report.splits] == [2, 1]


def test_videos_are_counted_and_opened(tmp_path: Path, astronaut: Path) -> None:
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
    (tmp_path / "happy" / "good.mp4").write_bytes(astronaut.read_bytes())
    (tmp_path / "sad" / "bad.mp4").write_bytes(b"nothing")
    (tmp_path / "sad" / "empty.mp4").touch()
    report = check_dataset("folder", tmp_path)
    assert [(f.kind, f.where) for f in report.findings] == [
        ("unreadable", "sad/bad.mp4"),
        ("unreadable", "sad/empty.mp4"),
    ]
    assert report.by_kind() == {"unreadable": 2}


def test_pictures_that_stop_training_are_found(dfew: Path) -> None:
    home = dfew / "DFEW_Frame_Face"
    for path in (home / "00000").iterdir():
        path.write_bytes(b"this is no picture at all")
    PIL.Image.new("RGB", (48, 32)).save(home / "00001" / "010.jpg")
    whole = (home / "00002" / "010.jpg").read_bytes()
    (home / "00002" / "010.jpg").write_bytes(whole[: len(whole) // 2])
    report = check_dataset("dfew", dfew, fold=1)
    found = [(f.kind, f.where) for f in report.findings]
    # An image of another size is fitted into the first one.
    assert found == [("unreadable", "00000"), ("unreadable", "00002")]
    assert "010.jpg" in report.findings[1].detail
    assert not report.ok


def test_stills_are_not_short(tmp_path: Path) -> None:
    frame_folder(tmp_path / "happy", 2)
    frame_folder(tmp_path / "sad", 1)
    assert check_dataset("folder", tmp_path).findings == ()
    for content in (b"", b"this is no picture at all"):
        (tmp_path / "sad" / "000.jpg").write_bytes(content)
        assert check_dataset("folder", tmp_path).by_kind() == {"unreadable": 1}


def test_folds_made_by_a_rule_are_read_once(tmp_path: Path) -> None:
    for actor in (1, 2, 3):
        frame_folder(tmp_path / f"02-01-06-01-02-01-0{actor}", 16)
    report = check_dataset("ravdess", tmp_path)
    assert [split.title for split in report.splits] == ["ravdess all"]
    assert report.splits[0].subjects == 3
    assert report.ok


@pytest.mark.parametrize(
    ("share", "margin", "verdict"),
    [
        (0.5, 0.3, "face"),
        # A face of 0.64 of the frame has 0.8 of its side: the crop of nano has 0.78 of it, that of PE-CLIP 1.04.
        (0.64, -0.02, "portrait"),
        (0.64, 0.3, "face"),
        (0.81, -0.02, "face"),
        (0.05, 0.3, "scene"),
        (None, 0.3, "unclear"),
    ],
)
def test_face_portrait_or_scene(
    share: float | None, margin: float, verdict: str, dfew: Path
) -> None:
    detector = Detector(share)
    report = check_dataset(
        "dfew", dfew, fold=1, detector=detector, face_margin=margin, face_videos=3
    )
    assert report.faces is not None
    assert report.faces.verdict == verdict
    assert report.faces.median_share == (None if share is None else pytest.approx(share))
    side = None if share is None else pytest.approx(share**0.5 * (1 + margin))
    assert report.faces.median_crop_side == side
    assert detector.calls == report.faces.frames == 9
    assert report.to_dict()["faces"]["detector"] == "fake"
    assert check_dataset("dfew", dfew, fold=1, detector=detector, face_videos=0).faces is None


def test_corrupt_videos_are_not_searched_for_faces(dfew: Path) -> None:
    for path in (dfew / "DFEW_Frame_Face" / "00001").iterdir():
        path.unlink()
    (dfew / "DFEW_Frame_Face" / "00002" / "000.jpg").write_bytes(b"x")
    report = check_dataset("dfew", dfew, fold=1, detector=Detector(0.5))
    assert report.faces is not None
    assert report.faces.frames == 6


def test_a_real_video_with_a_real_detector(astronaut: Path) -> None:
    found = measure_face_share([astronaut], HaarDetector())
    assert found.frames == 3
    assert found.verdict == "scene"


def test_errors(dfew: Path) -> None:
    with pytest.raises(ConfigError, match="'x'"):
        check_dataset("x", dfew)
    with pytest.raises(DatasetError, match="is not a folder"):
        check_dataset("dfew", dfew / "x")
    with pytest.raises(DatasetError, match="folds 1 to 5, but 9 was given"):
        check_dataset("dfew", dfew, fold=9)
    with pytest.raises(DatasetError, match="Annotation list not found: .*DFEW_set_2_train"):
        check_dataset("dfew", dfew)


@pytest.mark.parametrize(("val", "expected"), [(False, ["recording"]), (True, [])])
def test_training_would_divide_the_pieces_of_a_recording(
    val: bool, expected: list[str], tmp_path: Path
) -> None:
    root = tmp_path / "train" if val else tmp_path
    for label, name in (("happy", "talk_ann"), ("sad", "talk_bea")):
        for number in range(3):
            frame_folder(root / label / f"{name}_part{number}", 16)
        if val:
            frame_folder(tmp_path / "val" / label / "talk_eve_part1", 16)
    report = check_dataset("folder", tmp_path)
    found = [finding for finding in report.findings if finding.kind == "recording"]
    assert [finding.kind for finding in found] == expected
    assert report.ok
    if found:
        assert found[0].where == "talk_ann*"
        assert found[0].detail.startswith("happy/talk_ann_part0 and 2 more in train")


@pytest.mark.parametrize("hard", [False, True])
def test_links_to_one_file_are_named(hard: bool, tmp_path: Path) -> None:
    """A second name in the same label, in another label, and in another split."""
    for place in ("train/anger", "train/fear", "test/anger"):
        (tmp_path / place).mkdir(parents=True)
    first = tmp_path / "train/anger/a.jpg"
    PIL.Image.new("RGB", (32, 32), "white").save(first)
    PIL.Image.new("RGB", (32, 32), "white").save(
        tmp_path / "train/anger/c.jpg"
    )  # a copy is allowed
    links = ["train/anger/b.jpg", "train/fear/a.jpg", "test/anger/d.jpg"]
    for name in links:
        (tmp_path / name).hardlink_to(first) if hard else (tmp_path / name).symlink_to(first)
    report = check_dataset("folder", tmp_path)
    found = {
        finding.where: finding.kind for finding in report.findings if finding.kind != "skipped"
    }
    assert found == dict(zip(links, ["duplicate", "conflict", "overlap"], strict=True))
    assert not report.ok
    assert "the same file as train/anger/a.jpg in folder train" in report.findings[0].detail
