"""`peclip data` as a person types it, in process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

from peclip.cli.app import run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A table of two folders of frames, apart by person."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number in range(16):
            PIL.Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.jpg")
    lines = ["path,label,split,subject", "one,happy,train,ann", "two,sad,test,bob"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def command(root: Path, *more: str) -> list[str]:
    table = str(root / "labels.csv")
    base = ["data", "check", "--dataset", "table", "--data-root", str(root), "--annotations", table]
    return [*base, "--face-videos", "0", *more]


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "classes", "folds", "splits", "licence", "source"]
    assert lines[1].split()[:5] == ["dfew", "7", "5", "train", "test"]
    assert len(lines) == 10


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list", "-f", "json"]) == 0
    sets = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert sets["mafw"]["labels"][7:] == ["contempt", "anxiety", "helplessness", "disappointment"]
    assert sets["afew"]["test_split"] == "val"
    assert sets["folder"]["labels"] is None
    assert "signed" in sets["ferv39k"]["licence"]


def test_a_whole_data_set(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(root)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["split", "videos", "happiness", "sadness"]
    assert lines[1].split() == ["table", "train", "1", "1", "0"]
    assert lines[-1] == "2 videos, no problems"


def test_problems_give_6(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (root / "two").iterdir():
        path.unlink()
    (root / "one" / "15.jpg").unlink()
    assert run(command(root)) == 6
    out = capsys.readouterr().out
    assert "problem: empty, 1 (a folder without frames)\n  two: no frames in " in out
    assert "note: short, 1 (" in out
    assert out.splitlines()[-1] == "2 videos, 1 problems"


def test_many_problems_are_cut_off_in_the_table_only(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (root / "labels.csv").open("a") as file:
        file.writelines(f"\ngone{number},sad,train," for number in range(7))
    assert run(command(root)) == 6
    assert "  and 2 more; use -f json to list them all\n" in capsys.readouterr().out
    assert run(command(root, "-f", "json")) == 6
    report = json.loads(capsys.readouterr().out)
    assert report["by_kind"] == {"missing": 7}
    assert len(report["findings"]) == 7


def test_faces(tmp_path: Path, astronaut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.mp4").write_bytes(astronaut.read_bytes())
    arguments = ["data", "check", "--dataset", "folder", "--data-root", str(tmp_path)]
    assert run([*arguments, "--detector", "haar"]) == 0
    out = capsys.readouterr().out
    assert "\nframes: whole scenes: run `peclip data prepare` before training (median " in out
    assert "6 of 6 frames with a face, haar)" in out


@pytest.mark.parametrize(
    ("dataset", "code", "words"),
    [("dfw", 2, "'dfw'"), ("dfew", 3, "Annotation list not found")],
)
def test_errors(
    dataset: str, code: int, words: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "check", "--dataset", dataset, "--data-root", str(root)]
    assert run([*arguments, "--face-videos", "0"]) == code
    err = capsys.readouterr().err
    assert err.startswith("peclip: error: ")
    assert err.count("\n") == 1
    assert words in err


def test_an_invalid_root_is_reported_before_a_detector_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "check", "--dataset", "dfew", "--data-root", str(tmp_path / "x")]
    assert run(arguments) == 3
    assert "is not a folder. Expected for dfew: " in capsys.readouterr().err


def test_reading_lists_needs_no_torch() -> None:
    code = (
        "import sys, peclip.data.check; sys.exit(any(n in sys.modules for n in ('torch', 'cv2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_skipped_files_are_in_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        for number in range(3):
            PIL.Image.new("RGB", (8, 8)).save(tmp_path / label / f"{number}.png")
    (tmp_path / "happy" / "notes.txt").touch()
    check = ["data", "check", "--dataset", "folder", "--data-root", str(tmp_path)]
    assert run([*check, "--face-videos", "0"]) == 0
    out = capsys.readouterr().out
    assert "6 videos, no problems, 1 file skipped" in out
    assert "note: skipped, 1 " in out
    assert "happy/notes.txt: " in out
