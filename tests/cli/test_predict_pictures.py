"""`peclip predict --plot` and `--report`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from peclip.cli import console
from peclip.cli.app import run

Output = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("engine")


def told(capsys: Output) -> str:
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_the_timeline_of_one_source_is_a_file(
    ending: str, start: bytes, videos: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{ending}"
    assert run(["predict", str(videos / "a.mp4"), "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(start)


def test_the_timelines_of_several_sources_are_a_folder(
    videos: Path, tmp_path: Path, capsys: Output
) -> None:
    folder = tmp_path / "plots"
    arguments = ["predict", str(videos), "-o", str(tmp_path / "rows.csv"), "--plot", str(folder)]
    assert run(arguments) == 6  # one source is bad
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png"]
    capsys.readouterr()
    (tmp_path / "rows.csv").unlink()
    assert run(arguments) == 2
    assert "a.png" in (said := told(capsys))
    assert "--overwrite" in said
    assert run([*arguments, "--overwrite"]) == 6


def test_the_last_line_lists_what_was_written(videos: Path, tmp_path: Path, capsys: Output) -> None:
    rows, people, plots = tmp_path / "rows.csv", tmp_path / "people.csv", tmp_path / "plots"
    files = ["--plot", str(plots), "--summary", str(people)]
    assert run(["predict", str(videos), "-o", str(rows), *files]) == 6
    last = capsys.readouterr().err.splitlines()[-1]
    counts = "7 rows, 3 videos (1 failed), 2 people"
    assert last == f"{counts} {console.arrow()} {rows}, {plots}/, {people}"
    assert run(["predict", str(videos), *files, "--overwrite"]) == 6
    assert (
        capsys.readouterr().err.splitlines()[-1] == f"{counts} {console.arrow()} {plots}/, {people}"
    )
    assert run(["predict", str(videos / "a.mp4")]) == 0
    assert console.arrow() not in capsys.readouterr().err
    assert run(["predict", str(videos / "bad.mp4"), "--summary", str(people), "--overwrite"]) == 3
    assert "people.csv" not in capsys.readouterr().err, "nothing was written"


def test_several_sources_do_not_fit_into_one_plot(videos: Path, capsys: Output) -> None:
    assert run(["predict", str(videos), "--plot", "all.png"]) == 2
    assert "--plot FOLDER" in told(capsys)


def test_the_report_has_all_sources(videos: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert run(["predict", str(videos), "--report", str(path)]) == 6
    page = path.read_text(encoding="utf-8")
    assert "3 sources, 2 people" in page
    assert [name for name in ("a.mp4", "b.mp4", "bad.mp4") if f"<h2>{name}</h2>" not in page] == []
    assert "could not be read" in page
    assert not list(tmp_path.glob(".*")), "no temporary file is left"


def test_a_resumed_run_reports_the_earlier_sources_too(videos: Path, tmp_path: Path) -> None:
    rows, path = tmp_path / "rows.jsonl", tmp_path / "report.html"
    assert (
        run(["predict", str(videos / "a.mp4"), str(videos / "b.mp4"), "-o", str(rows), "--resume"])
        == 0
    )
    arguments = ["predict", str(videos), "-o", str(rows), "--resume", "--report", str(path)]
    assert run([*arguments, "--plot", str(tmp_path / "plots")]) == 6
    assert "3 sources, 2 people" in path.read_text(encoding="utf-8")
    assert sorted(one.name for one in (tmp_path / "plots").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(("option", "name"), [("--plot", "a.gif"), ("--report", "a.pdf")])
def test_an_unsupported_extension_is_refused_before_anything_is_read(
    option: str, name: str, videos: Path, tmp_path: Path, capsys: Output
) -> None:
    assert run(["predict", str(videos / "a.mp4"), option, str(tmp_path / name)]) == 2
    assert name in told(capsys)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(("option", "name"), [("--plot", "a.png"), ("--report", "a.html")])
def test_without_matplotlib_the_error_names_the_package_to_install(
    option: str,
    name: str,
    videos: Path,
    tmp_path: Path,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["predict", str(videos / "a.mp4"), option, str(tmp_path / name)]) == 5
    assert 'pip install "matplotlib' in (said := told(capsys))
    assert option in said


@pytest.mark.parametrize("more", [[], ["--no-pictures"]])
def test_faces_are_shown_unless_they_are_not_wanted(
    more: list[str], astronaut: Path, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    arguments = ["predict", str(astronaut), "--detector", "haar", "--window", "3s"]
    assert run([*arguments, "--report", str(path), *more]) == 0
    assert ("image/jpeg" in path.read_text(encoding="utf-8")) == (not more)
