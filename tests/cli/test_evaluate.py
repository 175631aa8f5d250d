"""`peclip evaluate` as a person types it, in process."""

from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from peclip.cli.app import run
from peclip.cli.options import check_output
from peclip.cli.scores import show
from peclip.errors import ConfigError
from peclip.metrics.scoring import score_files


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Four videos: UAR 75, WAR 75; and one whose class the model does not have."""
    path = tmp_path / "answers.csv"
    rows = ["a,Happy,joy,0.8,0.2", "b,happy,sad,0.4,0.6", "c,sad,sad,0,1", "d,sad,sad,0.3,0.7"]
    rows.append("e,contempt,sad,0.3,0.7")
    header = "source,target,label,prob_happiness,prob_sadness"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    return path


@pytest.fixture
def second(tmp_path: Path) -> Path:
    path = tmp_path / "second.jsonl"
    row = {"source": "x", "target": "sad", "label": "sad", "prob_happy": 0, "prob_sad": 1}
    path.write_text(json.dumps(row), encoding="utf-8")
    return path


def test_a_table_for_people(answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--predictions", str(answers)]) == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[1][:3] == ["UAR", "(%)", "75.00"]
    assert lines[1][4] == "-"
    assert lines[2][:3] == ["WAR", "(%)", "75.00"]
    assert lines[3] == ["macro", "F1", "(%)", "73.33"]
    assert lines[4] == ["ECE", "(0", "to", "1)", "0.2750"]
    assert lines[5] == ["videos", "4"]
    assert lines[7] == ["class", "videos", "recall", "precision", "F1"]
    assert lines[8] == ["happiness", "2", "50.00", "100.00", "66.67"]
    assert lines[9] == ["sadness", "2", "100.00", "66.67", "80.00"]
    assert err.strip() == "dropped 1 video of contempt: the model has no such label"


def test_json_holds_per_cent_and_intervals(
    answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "--predictions", str(answers), "-f", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["uar"], document["war"], document["num_videos"]) == (75.0, 75.0, 4)
    for name in ("uar", "war"):
        low, high = document[f"{name}_ci"]
        assert 0 <= low <= 75 <= high <= 100
    assert document["dropped"] == {"contempt": 1}


def test_standard_output_as_a_file_gets_the_document(
    answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "--predictions", str(answers), "-o", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["uar"] == 75.0


def test_the_bootstrap_is_seeded_and_can_be_left_out(
    answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["evaluate", "--predictions", str(answers), "-f", "json"]
    outputs = []
    for extra in (["--seed", "3"], ["--seed", "3"], ["--bootstrap", "0"]):
        assert run([*common, *extra]) == 0
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0] == outputs[1]
    assert outputs[2]["uar_ci"] is None


def test_folds(answers: Path, second: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--predictions", str(answers), "--predictions", str(second)]
    assert run(["evaluate", *files]) == 0
    out, err = capsys.readouterr()
    assert "UAR 87.50 ± 17.68, WAR 87.50 ± 17.68: mean and sample standard deviation of 2" in out
    assert "class, all files" in out
    assert err.splitlines()[0].startswith(f"{answers}: dropped 1 video")
    assert err.splitlines()[1].startswith(f"{second}: no video of happiness")
    assert run(["evaluate", *files, "-f", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["uar"], document["uar_sd"]) == (87.5, 17.67767)
    assert document["num_folds"] == len(document["folds"]) == 2


def test_the_labels_of_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("source,target,label\na,happy,happy\nb,fear,happy\n", encoding="utf-8")
    arguments = ["evaluate", "--predictions", str(path), "-f", "json"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["uar"] == 50.0
    assert run([*arguments, "--labels", "happy,sad"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["uar"], document["dropped"]) == (100.0, {"fear": 1})
    (tmp_path / "labels.yaml").write_text("happy: a smiling face.\nsad:\n", encoding="utf-8")
    assert run([*arguments, "--labels", str(tmp_path / "labels.yaml")]) == 0
    assert json.loads(capsys.readouterr().out) == document


def test_files_beside_the_table(
    answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["evaluate", "--predictions", str(answers)]
    picture = tmp_path / "confusion.png"
    for ending in ("json", "csv"):
        assert run([*common, "-o", str(tmp_path / f"report.{ending}")]) == 0
    assert run([*common, "--plot", str(picture)]) == 0
    assert "UAR (%)" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["uar"] == 75.0
    (row,) = csv.DictReader((tmp_path / "report.csv").read_text().splitlines())
    assert (row["uar"], row["num_dropped"]) == ("75.0", "1")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_picture_of_folds(answers: Path, second: Path, tmp_path: Path) -> None:
    picture = tmp_path / "folds.svg"
    files = ["--predictions", str(answers), "--predictions", str(second)]
    assert run(["evaluate", *files, "--plot", str(picture)]) == 0
    assert "<svg" in picture.read_text(encoding="utf-8")


@pytest.mark.parametrize("option", ["-o", "--plot"])
def test_a_file_is_replaced_only_if_asked(
    option: str, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ("report.json" if option == "-o" else "confusion.png")
    path.write_text("mine", encoding="utf-8")
    arguments = ["evaluate", "--predictions", str(answers), option, str(path)]
    assert run(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "mine"
    assert run([*arguments, "--overwrite"]) == 0
    assert path.read_bytes() != b"mine"


@pytest.mark.parametrize(("option", "name"), [("-o", "report.txt"), ("--plot", "picture.doc")])
def test_another_ending_is_refused_before_anything_is_written(
    option: str, name: str, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    good = ["--plot", "good.png"] if option == "-o" else ["-o", "good.json"]
    arguments = [good[0], str(tmp_path / good[1]), option, str(tmp_path / name)]
    assert run(["evaluate", "--predictions", str(answers), *arguments]) == 2
    assert repr(name) in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("source,target,label\na,happy,happy\na,sad,happy\n", encoding="utf-8")
    assert run(["evaluate", "--predictions", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("peclip: error: ")
    assert "line 3 names 'a' again" in err
    assert len(err.splitlines()) == 1


def test_predictions_are_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate"]) == 2
    assert "--predictions" in capsys.readouterr().err


def test_without_matplotlib_the_error_says_what_to_install(
    answers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    plot = ["--plot", str(tmp_path / "confusion.png")]
    assert run(["evaluate", "--predictions", str(answers), *plot]) == 5
    assert "peclip[plot]" in capsys.readouterr().err


def test_a_picture_that_fails_costs_no_number(
    answers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*given: object) -> None:
        raise ConfigError("The disk is full.")

    monkeypatch.setattr("peclip.figures.save_figure", full)
    files = ["-o", str(tmp_path / "report.json"), "--plot", str(tmp_path / "confusion.png")]
    assert run(["evaluate", "--predictions", str(answers), *files]) == 2
    assert "UAR (%)" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["uar"] == 75.0


def test_a_full_disk_costs_no_number(
    answers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("peclip.metrics.scoring.replacing", full)
    arguments = ["evaluate", "--predictions", str(answers), "-o", str(tmp_path / "report.json")]
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert "UAR (%)" in out
    assert "No space left on device" in err
    assert run([*arguments, "-f", "json"]) == 2
    assert json.loads(capsys.readouterr().out)["uar"] == 75.0


def test_a_reader_that_has_gone_costs_no_file(
    answers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*given: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("peclip.cli.scores.print_evaluation", gone)
    with pytest.raises(BrokenPipeError):
        show(score_files([answers]), "table", tmp_path / "report.json", None)
    assert json.loads((tmp_path / "report.json").read_text())["uar"] == 75.0


@pytest.mark.parametrize(("option", "name"), [("-o", "report.json"), ("--plot", "picture.png")])
def test_a_folder_that_cannot_be_written_is_found_out_first(
    option: str,
    name: str,
    answers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)
    monkeypatch.setattr(
        "peclip.metrics.scoring.score_files", lambda *_, **__: pytest.fail("computed")
    )
    assert run(["evaluate", "--predictions", str(answers), option, str(locked / name)]) == 2
    assert "not writable" in " ".join(capsys.readouterr().err.split())


def test_a_device_is_written_into_whoever_owns_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    check_output(Path(os.devnull), overwrite=True)


def test_scoring_needs_neither_torch_nor_matplotlib() -> None:
    code = "import sys, peclip.metrics.scoring, peclip.cli.evaluate as e; print({'torch', 'matplotlib'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
