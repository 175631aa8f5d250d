"""`peclip predict` as a person types it, in process."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_yunet import FakeYuNet, face_row, install
from http_server import serving_files
from synthetic_videos import write_video

from peclip.cli.app import run
from peclip.engines.base import Engine, Job
from peclip.engines.registry import ENGINES
from peclip.errors import ConfigError

DEBUG = ["-m", "debug", "--device", "cpu"]
QUICK = [*DEBUG, "--detector", "haar"]
WHOLE = [*DEBUG, "--no-face-crop"]
"""Where no face matters: most of the time goes into looking for one."""


def test_a_table_for_people(astronaut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(astronaut), *QUICK]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == str(astronaut)
    assert lines[1].split() == ["person", "seconds", "expression", "score", "face", "next"]
    assert lines[2].split()[:4] == ["0", "0.00", "-", "1.00"]
    assert lines[-1].startswith("  person 0: ")
    assert err.strip() == "debug on cpu in fp32"


def test_a_prior_weight_needs_a_prior(astronaut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(astronaut), *QUICK, "--prior-weight", "0.5"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "0.5, but the model has no prior" in told
    assert "train.prior=targets" in told


def test_json_is_one_document(astronaut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(astronaut), "-f", "json", *QUICK]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["source"] == str(astronaut)
    assert document["label"] == document["tracks"][0]["label"]
    assert len(document["rows"]) == 5
    assert document["rows"][0]["status"] == "ok"


def test_several_sources_in_json_are_a_list(astronaut: Path, tmp_path: Path, capsys) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(astronaut.read_bytes())
    assert run(["predict", str(astronaut), str(copy), "-f", "json", *WHOLE]) == 0
    documents = json.loads(capsys.readouterr().out)
    assert [d["source"] for d in documents] == [str(astronaut), str(copy)]
    assert documents[0]["scores"] == documents[1]["scores"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet"])
def test_the_format_is_inferred_from_the_extension(
    ending: str, astronaut: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"rows.{ending}"
    assert run(["predict", str(astronaut), "-o", str(path), *WHOLE]) == 0
    if ending == "csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
    elif ending == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    elif ending == "json":
        rows = json.loads(path.read_text())["rows"]
    else:
        import pyarrow.parquet as pq

        rows = pq.read_table(path).to_pylist()
    assert len(rows) == 5
    assert {row["source"] for row in rows} == {str(astronaut)}
    assert float(rows[-1]["end_s"]) == pytest.approx(3.0)


def test_dash_streams_json_lines(astronaut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(astronaut), "-o", "-", *WHOLE]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["window"] for row in rows] == [0, 1, 2, 3, 4]


def test_windows_and_times_in_any_unit(astronaut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--window", "2s", "--hop", "500ms", "-f", "csv", *WHOLE]
    assert run(["predict", str(astronaut), *arguments]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(float(r["start_s"]), float(r["end_s"])) for r in rows] == [(0, 2), (0.5, 2.5), (1, 3)]
    assert run(["predict", str(astronaut), "--window", "all", "-f", "csv", *WHOLE]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["start_frame"], row["end_frame"]) == ("0", "71")


def test_a_video_without_a_face_names_the_faces_that_are_not_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 1280 pixels, 640 are searched: a face of 36 pixels has the 18 that the detector needs there."""
    image = np.zeros((720, 1280, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "0.png"), image)
    sized = ["--detect-size", "640", "--detector", "haar", "-m", "debug"]
    assert run(["predict", str(tmp_path / "0.png"), *sized]) == 0
    hint = capsys.readouterr().err
    for expected in (
        "no face found",
        "smaller than about 36 pixels",
        "--detect-size",
        "--min-face",
    ):
        assert expected in hint
    assert "--face-threshold" in hint
    assert "frontal" in hint, "a property of the Haar cascade"


def test_rows_of_other_people_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = FakeYuNet(lambda picture: [face_row(10, 10, 40, 40, 0.9), face_row(90, 10, 40, 40, 0.8)])
    install(monkeypatch, net)
    cv2.imwrite(str(tmp_path / "0.png"), np.full((100, 160, 3), 90, np.uint8))
    source = str(tmp_path / "0.png")
    assert run(["predict", source, "-m", "debug", "-o", "-", "--max-people", "1"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert "--max-people omitted 1 row of 1 other person" in err


def test_an_output_is_only_replaced_with_overwrite(astronaut: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("precious")
    assert run(["predict", str(astronaut), "-o", str(path), *WHOLE]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert path.read_text() == "precious"
    assert run(["predict", str(astronaut), "-o", str(path), "--overwrite", *WHOLE]) == 0
    assert path.read_text().startswith("source,")


def test_a_text_renamed_to_mp4_is_a_one_line_error_and_exit_3(tmp_path: Path, capsys) -> None:
    fake = tmp_path / "fake.mp4"
    fake.write_text("not a video at all\n" * 50)
    assert run(["predict", str(fake), "-f", "json", "-o", str(tmp_path / "o.json"), *QUICK]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "fake.mp4" in err
    assert not (tmp_path / "o.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere.mp4"], 3),
        (["nowhere/*.mp4"], 3),
        ([""], 2),
        (["EXAMPLE", ""], 2),
        (["EXAMPLE", "--detect-rate", "0.1"], 2),
        (["EXAMPLE", "-m", "no-such-model"], 2),
        (["EXAMPLE", "-m", "ViT-B-16-quickgelu/openai"], 4),
        (["EXAMPLE", "-m", "somebody/something"], 4),
        (["EXAMPLE", "--window", "soon"], 2),
        (["EXAMPLE", "--window", "0"], 2),
        (["EXAMPLE", "-f", "xml"], 2),
        (["EXAMPLE", "-o", "rows.docx"], 2),
        (["EXAMPLE", "-o", "no/such/folder/rows.csv"], 2),
        (["EXAMPLE", "--labels", "one"], 2),
        (["EXAMPLE", "--labels", "missing.yaml"], 2),
        (["http://127.0.0.1:9/v.mp4"], 3),
        ([], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int, astronaut: Path, capsys) -> None:
    words = [str(astronaut) if word == "EXAMPLE" else word for word in arguments]
    quick = [] if "-m" in words else ["-m", "debug"]
    assert run(["predict", *words, *quick, "--detector", "haar"]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert err.strip()


def test_one_bad_file_does_not_stop_the_others(astronaut: Path, tmp_path: Path, capsys) -> None:
    bad, path = tmp_path / "bad.mp4", tmp_path / "rows.csv"
    bad.write_bytes(b"")
    assert run(["predict", str(bad), str(astronaut), "-o", str(path), *WHOLE]) == 6
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["status"] for row in rows] == ["decode_error", *["ok"] * 5]
    assert rows[0]["source"] == str(bad)
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1


def test_a_missing_package_is_reported_before_anything_is_computed(
    astronaut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("peclip.engines.base.load", lambda *_, **__: pytest.fail("loaded a model"))
    assert run(["predict", str(astronaut), "-o", str(tmp_path / "rows.parquet"), *QUICK]) == 5
    assert 'pip install "pandas' in capsys.readouterr().err
    assert run(["predict", str(astronaut), "-f", "parquet", *QUICK]) == 2


def test_a_missing_file_or_camera_does_not_stop_the_others(
    astronaut: Path, tmp_path: Path, capsys
) -> None:
    path = tmp_path / "rows.csv"
    words = [str(astronaut), "nowhere.mp4", "7", "-o", str(path), *WHOLE]
    assert run(["predict", *words]) == 6
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["status"] for row in rows] == [*["ok"] * 5, "decode_error", "decode_error"]
    assert rows[5]["source"] == "nowhere.mp4"
    err = capsys.readouterr().err
    assert "no face found" not in err


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet"])
def test_an_interrupted_run_keeps_its_rows(
    ending: str, astronaut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peclip.inference.session import Session

    whole = Session.__iter__

    def stopped(self: Session) -> Iterator[object]:
        for number, row in enumerate(whole(self)):
            if number == 2:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(Session, "__iter__", stopped)
    path = tmp_path / f"rows.{ending}"
    assert run(["predict", str(astronaut), "-o", str(path), *WHOLE]) == 130
    if ending == "parquet":
        import pyarrow.parquet as pq

        assert pq.read_table(path).num_rows >= 2
    elif ending == "json":
        document = json.loads(path.read_text())
        assert len(document["rows"]) >= 2
        assert document["error"] == "interrupted"
    else:
        assert len(path.read_text().splitlines()) >= 2


def test_if_all_sources_fail_the_exit_code_is_that_of_the_failure(tmp_path: Path, capsys) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text("no")
    assert run(["predict", str(tmp_path), *QUICK]) == 3
    assert len([x for x in capsys.readouterr().err.splitlines() if "error:" in x]) == 2


def test_a_truncated_video_keeps_its_rows(astronaut: Path, tmp_path: Path, capsys) -> None:
    import av

    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    options = {"movflags": "+faststart"}  # the index comes first, so the first part can be read
    with av.open(str(astronaut)) as old, av.open(str(whole), "w", options=options) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * 0.7)])
    assert run(["predict", str(cut), "-f", "jsonl", *QUICK]) == 6
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows[0]["status"] == "ok"
    assert rows[-1]["status"] == "decode_error"
    assert [row["status"] for row in rows].count("decode_error") == 1
    assert len([line for line in err.splitlines() if "error:" in line]) == 1

    cut.write_bytes(astronaut.read_bytes()[: astronaut.stat().st_size // 2])
    assert run(["predict", str(cut), *QUICK]) == 3, (
        "its index stood at the end: nothing can be read"
    )


def test_a_folder_of_frames_and_custom_labels(astronaut: Path, tmp_path: Path, capsys) -> None:
    import cv2
    import numpy as np

    from peclip.video.reader import open_video

    with open_video(astronaut) as reader:
        frames = reader.read(range(0, 20)).data
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number}.png"), np.ascontiguousarray(frame[..., ::-1]))
    labels = tmp_path / "labels.yaml"
    labels.write_text("awake: Upper Lid Raiser.\nasleep: Eyes Closed.\n")
    arguments = ["--fps", "10", "--labels", str(labels), "-f", "jsonl", *WHOLE]
    assert run(["predict", str(folder), *arguments]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[-1]["end_s"] == pytest.approx(2.0)
    assert {name for name in rows[0] if name.startswith("prob_")} == {"prob_awake", "prob_asleep"}


@pytest.fixture
def server(astronaut: Path) -> Iterator[str]:
    with serving_files(astronaut.parent) as address:
        yield address


def test_an_address_is_a_source(server: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("PECLIP_OFFLINE", "0")
    monkeypatch.setenv("NO_PROXY", "*")
    assert run(["predict", f"{server}/astronaut.mp4", "-f", "jsonl", *WHOLE]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 5
    assert rows[0]["source"] == f"{server}/astronaut.mp4"
    assert run(["predict", f"{server}/none.mp4", *WHOLE]) == 3
    assert "404" in capsys.readouterr().err


@pytest.mark.parametrize(("form", "kept"), [("csv", False), ("jsonl", False), ("json", True)])
def test_rows_are_kept_where_the_format_needs_them(
    form: str, kept: bool, astronaut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a camera that writes lines would fill the memory."""
    jobs: list[Job] = []

    def opener(job: Job) -> AbstractContextManager[Engine]:
        jobs.append(job)
        raise ConfigError("That is enough.")

    monkeypatch.setitem(ENGINES, "local", opener)
    assert run(["predict", str(astronaut), "-f", form]) == 2
    assert [job.keep_rows for job in jobs] == [kept]


def test_a_video_without_a_face_gives_a_row(tmp_path: Path, capsys) -> None:
    arguments = ["predict", str(write_video(tmp_path / "no_face.mp4")), *QUICK]
    assert run([*arguments, "-f", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["label"] is None
    assert {row["status"] for row in document["rows"]} == {"no_face"}
    for more in ([], ["-f", "jsonl"]):
        assert run([*arguments, *more]) == 0
        assert "--no-face-crop" in capsys.readouterr().err
    assert run(["-q", *arguments]) == 0
    assert capsys.readouterr().err == ""


def test_a_smiling_astronaut_is_happy(astronaut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(astronaut), "--detector", "haar", "-f", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["model"] == "nano"
    assert [row["label"] for row in document["rows"]] == ["happiness"] * 5
