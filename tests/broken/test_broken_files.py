"""Sources other than plain files: pipes, links, folders, names, permissions, and files that change."""

from __future__ import annotations

import csv
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import broken_videos
import pytest
from decoders import each_decoder
from outcomes import Predict
from sweeps import slow, sweep

from peclip.cli.app import run
from peclip.video import reader as readers

Good = dict[str, bytes]
Powerless = Callable[[], AbstractContextManager[None]]

# --- sources that are not files ------------------------------------------------------------------


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        here = os.getcwd()
        os.chdir(path.parent)  # the address of a socket is short
        try:
            end.bind(path.name)
        finally:
            os.chdir(here)


NO_FILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe.mp4": (os.mkfifo, "is a pipe or a device"),
    "pipe.png": (os.mkfifo, "is a pipe or a device"),
    "socket.mp4": (bound_socket, "is a pipe or a device"),
    "null.mp4": (lambda path: path.symlink_to("/dev/null"), "is a pipe or a device"),
    "zeros.mp4": (lambda path: path.symlink_to("/dev/zero"), "is a pipe or a device"),
    "zeros.png": (lambda path: path.symlink_to("/dev/zero"), "is a pipe or a device"),
    "nowhere.mp4": (lambda path: path.symlink_to("gone.mp4"), "does not exist"),
    "itself.mp4": (lambda path: path.symlink_to(path), "does not exist"),
    "folder.mp4": (os.mkdir, "is a folder without videos"),
    "folder.png": (os.mkdir, "is a folder without videos"),
    "empty.png": (Path.touch, "is an empty file (0 bytes)"),
}


@pytest.mark.parametrize("name", NO_FILE)
def test_a_source_that_is_not_a_file_is_a_one_line_error(
    name: str, predict: Predict, tmp_path: Path
) -> None:
    make, says = NO_FILE[name]
    path = tmp_path / name
    make(path)
    outcome = predict(path)
    assert outcome.code == 3
    (line,) = outcome.errors
    assert str(path) in line
    assert says in line


@sweep("name", NO_FILE, default=["pipe.mp4", "nowhere.mp4", "folder.mp4"])
def test_a_source_that_is_not_a_file_does_not_stop_the_others(
    name: str, good: Good, predict: Predict, tmp_path: Path
) -> None:
    video = tmp_path / "good.mkv"
    video.write_bytes(good["plain.mkv"])
    NO_FILE[name][0](tmp_path / name)
    outcome = predict(tmp_path / name, video)
    assert outcome.code == 6
    assert {row["source"] for row in outcome.recognised} == {str(video)}
    assert len(outcome.errors) == 1


def test_a_name_that_is_too_long_is_a_one_line_error(
    good: Good, predict: Predict, tmp_path: Path
) -> None:
    video = tmp_path / "good.mkv"
    video.write_bytes(good["plain.mkv"])
    assert predict("x" * 300 + ".mp4").code == 3
    assert predict(video, "x" * 300 + ".mp4").code == 6


def test_a_pipe_in_a_folder_is_skipped(good: Good, predict: Predict, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    os.mkfifo(folder / "pipe.mp4")
    (folder / "good.mkv").write_bytes(good["plain.mkv"])
    assert {row["source"] for row in predict(folder).rows} == {str(folder / "good.mkv")}


def test_a_folder_that_links_to_itself_is_searched_once(
    good: Good, predict: Predict, tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    (folder / "inner").mkdir(parents=True)
    for number in range(8):  # followed everywhere, these would be 8**40 paths
        (folder / f"again{number}").symlink_to(folder)
        (folder / "inner" / f"up{number}").symlink_to(folder)
    (folder / "inner" / "good.mkv").write_bytes(good["plain.mkv"])
    for source in (folder, f"{folder}/**/*.mkv", f"{folder}/**", f"{tmp_path}/*/inner/**/good*"):
        outcome = predict(source)
        assert outcome.code == 0
        assert len({row["source"] for row in outcome.rows}) == 1


def test_a_deeply_nested_folder_is_searched(
    good: Good, predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    depth = 1010
    monkeypatch.chdir(tmp_path)
    top = tmp_path / "d"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    with os.fdopen(os.open("a.mkv", os.O_CREAT | os.O_WRONLY, dir_fd=here), "wb") as stream:
        stream.write(good["plain.mkv"])
    os.close(here)
    assert predict("d").code == 0
    here = os.open("d", os.O_RDONLY)  # rmtree would not come so deep
    for _ in range(depth):
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.unlink("a.mkv", dir_fd=here)
    for _ in range(depth):
        above = os.open("..", os.O_RDONLY, dir_fd=here)
        os.rmdir("d", dir_fd=above)
        os.close(here)
        here = above
    os.close(here)


# --- permissions --------------------------------------------------------------------------------


@each_decoder
def test_a_file_without_read_permission_is_a_one_line_error(
    decoder: str, good: Good, predict: Predict, powerless: Powerless, tmp_path: Path
) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(good["front.mp4"])
    path.chmod(0)
    outcome = predict(path, within=powerless(), decoder=decoder)
    assert outcome.code == 3
    assert f"{path} cannot be read as a video: Permission denied" in outcome.errors[0]


@pytest.mark.parametrize(
    "mode", [0o000, pytest.param(0o444, marks=slow), 0o111], ids=["closed", "listed", "entered"]
)
@sweep("inside", ["", "a.mkv", "frames", "frames/1.png"], default=["", "a.mkv", "frames"])
def test_a_folder_without_read_permission_is_a_one_line_error(
    mode: int, inside: str, good: Good, predict: Predict, powerless: Powerless, tmp_path: Path
) -> None:
    video, folder = tmp_path / "good.mkv", tmp_path / "secret"
    (folder / "frames").mkdir(parents=True)
    video.write_bytes(good["plain.mkv"])
    (folder / "a.mkv").write_bytes(good["plain.mkv"])
    (folder / "frames" / "1.png").write_bytes(broken_videos.png_of(64, 48))
    (folder / "frames").chmod(0o755)
    folder.chmod(mode)
    alone = predict(folder / inside, within=powerless())
    among = predict(video, folder / inside, within=powerless())
    folder.chmod(0o755)
    readable = mode == 0o111 and inside != ""
    assert alone.code == (0 if readable else 3)
    assert among.code == (0 if readable else 6)
    if not readable:
        assert "secret" in alone.errors[0]
        assert "Permission denied" in alone.errors[0]


# --- names --------------------------------------------------------------------------------------

NAMES = {
    "not-utf8": b"caf\xe9.mp4",
    "newline": b"two\nlines.mp4",
    "escape": b"\x1b[31mred\x1b[0m\x07.mp4",
    "markup": b"[bold]x[@click=y(].mp4",
    "quotes": b"a'b\"c`$(x).mp4",
    "percent": b"a%03d%s.mp4",
    "dash": b"-x.mp4",
    "colon": b"file:http:x.mp4",
    "glob": b"a[1]*?.mp4",
    "comma": b"a,b;c.mp4",
    "right-to-left": "\u202egp4.\u05d0.mp4".encode(),
    "emoji": "😀 é ü.mp4".encode(),
    "space": b" .mp4 ",
    "dots": b"...mp4",
    "backslash": b"a\\x41.mp4",
    "long": b"x" * 251 + b".mp4",
}


HOSTILE_NAMES = ["not-utf8", "newline", "escape", "markup", "dash", "colon", "glob", "long"]


@sweep("case", NAMES, default=[*HOSTILE_NAMES, "space", "right-to-left"])
def test_a_name_is_never_interpreted(
    case: str, good: Good, predict: Predict, tmp_path: Path
) -> None:
    path = tmp_path / os.fsdecode(NAMES[case])
    path.write_bytes(good["front.mp4"])
    outcome = predict(path)
    assert outcome.code == 0
    called = {str(row["source"]) for row in outcome.rows}
    assert called == {str(path).encode("utf-8", "backslashreplace").decode()}


@sweep("case", NAMES, default=["not-utf8", "newline", "escape", "markup", "dash"])
def test_the_name_of_a_broken_file_stays_on_its_line(
    case: str, predict: Predict, tmp_path: Path
) -> None:
    path = tmp_path / os.fsdecode(NAMES[case])
    path.write_bytes(b"no video")
    outcome = predict(path)
    assert outcome.code == 3
    (line,) = outcome.errors
    assert line.isprintable()


@sweep("case", ["not-utf8", "newline", "escape", "markup"], default=["not-utf8", "escape"])
@pytest.mark.parametrize("form", ["table", "csv", "jsonl", "json"])
def test_a_name_can_be_printed(
    case: str, form: str, good: Good, predict: Predict, tmp_path: Path, capfd: Any
) -> None:
    path = tmp_path / os.fsdecode(NAMES[case])
    path.write_bytes(good["front.mp4"])
    chosen = [] if form == "table" else ["-f", form]
    arguments = ["-m", "debug", "--device", "cpu", "--no-face-crop", "--window", "all", *chosen]
    assert run(["predict", *arguments, "--", str(path)]) == 0
    out, err = capfd.readouterr()
    assert err.strip() == "debug on cpu in fp32"
    if form == "table":
        assert out.replace("\n", "").isprintable()
    if form == "csv":
        assert len(list(csv.DictReader(out.splitlines(keepends=True)))) == 1
    if form.startswith("json"):
        json.loads(out)


@sweep("case", ["not-utf8", "markup", "escape"], default=["markup", "escape"])
def test_the_progress_bar_can_show_any_name(
    case: str, good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    path = tmp_path / os.fsdecode(NAMES[case])
    path.write_bytes(good["front.mp4"])
    arguments = ["-m", "debug", "--device", "cpu", "--no-face-crop", "-f", "jsonl"]
    assert run(["predict", *arguments, "--", str(path)]) == 0
    out, err = capfd.readouterr()
    assert "\x1b[31mred" not in err
    assert [json.loads(line)["status"] for line in out.splitlines()].count("ok") >= 1


@pytest.mark.parametrize("form", ["csv", "jsonl", "json"])
def test_rows_for_standard_output_stay_off_the_bar(
    form: str, good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """Rich sends what is printed beside a bar to the console of the bar, which is standard error."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    path = tmp_path / "front.mp4"
    path.write_bytes(good["front.mp4"])
    arguments = ["-m", "debug", "--device", "cpu", "--no-face-crop", "-f", form, str(path)]
    assert run(["predict", "--no-progress", *arguments]) == 0
    plain = capfd.readouterr().out
    assert str(path) in plain
    assert run(["predict", *arguments]) == 0
    out, err = capfd.readouterr()
    assert out == plain
    assert "schema_version" not in err
    assert "front.mp4" in err


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_every_format_writes_broken_files_and_undecodable_names(
    ending: str, good: Good, tmp_path: Path, capfd: Any
) -> None:
    path, bad = tmp_path / os.fsdecode(NAMES["not-utf8"]), tmp_path / "bad.mp4"
    path.write_bytes(good["front.mp4"])
    bad.write_bytes(b"no video")
    output = tmp_path / f"rows.{ending}"
    arguments = ["-m", "debug", "--device", "cpu", "--no-face-crop", "-o", str(output)]
    assert run(["predict", *arguments, str(path), str(bad)]) == 6
    if ending == "csv":
        rows = list(csv.DictReader(output.read_text().splitlines()))
    elif ending == "json":
        rows = [row for document in json.loads(output.read_text()) for row in document["rows"]]
    else:
        import pyarrow.parquet as pq

        rows = pq.read_table(output).to_pylist()
    assert [row["status"] for row in rows] == ["ok", "decode_error"]
    assert rows[0]["source"].endswith("caf\\udce9.mp4")


# --- files that change while they are read ------------------------------------------------------

Happen = Callable[[Path], object]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(path.read_bytes())


def become_sound(path: Path) -> None:
    broken_videos.sound_only(path.with_name("other.mp4")).replace(path)


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HAPPENINGS: dict[str, Happen] = {
    "vanishes": os.unlink,
    "is-truncated": truncate,
    "is-emptied": lambda path: os.truncate(path, 0),
    "grows": grow,
    "becomes-text": lambda path: path.write_bytes(b"text " * 1000),
    "becomes-sound": become_sound,
    "becomes-a-folder": become_folder,
}


@each_decoder
@sweep("kind", ["long.mp4", "long.mkv"], default=["long.mp4"])
@pytest.mark.parametrize("when", ["opened", "half-read"])
@sweep("what", HAPPENINGS, default=["vanishes", "is-truncated", "grows", "becomes-sound"])
def test_a_file_that_changes_while_it_is_read(
    what: str,
    when: str,
    kind: str,
    decoder: str,
    good: Good,
    predict: Predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / kind
    path.write_bytes(good[kind])

    def opened(source: Path, **options: Any) -> readers.VideoReader:
        reader = readers.open_video(source, **options)
        chunks = reader.chunks

        def changing(*size: int) -> Iterator[Any]:
            for number, frames in enumerate(chunks(*size)):
                if number == 1 and when == "half-read":
                    HAPPENINGS[what](path)
                yield frames

        monkeypatch.setattr(reader, "chunks", changing)
        if when == "opened":
            HAPPENINGS[what](path)
        return reader

    monkeypatch.setattr("peclip.inference.source.open_video", opened)
    outcome = predict(path, decoder=decoder)
    assert len(outcome.errors) == (outcome.code != 0)
    assert all(str(path) in line for line in outcome.errors)
    if when == "half-read":
        assert outcome.recognised
    if what == "grows" and decoder == "pyav":
        assert outcome.code == 0
