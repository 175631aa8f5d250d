"""`peclip score` as a person types it, in process."""

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
from peclip.cli.evaluation_table import show
from peclip.cli.options import check_output
from peclip.errors import ConfigError
from peclip.metrics.scoring import score_files
from peclip.results.prediction import Prediction
from peclip.results.rows import Row
from peclip.results.writers import open_writer


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Four videos: UAR 75, WAR 75; and one whose class the model does not have."""
    path = tmp_path / "predictions.csv"
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


def test_a_table_for_people(predictions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", str(predictions)]) == 0
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
    dropped, few = err.splitlines()
    assert dropped == "dropped 1 video of contempt, because the model does not have these labels"
    assert few.startswith("n = 4: "), "the intervals are too narrow"


def test_json_holds_per_cent_and_intervals(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", str(predictions), "-f", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["uar"], document["war"], document["num_videos"]) == (75.0, 75.0, 4)
    for name in ("uar", "war"):
        low, high = document[f"{name}_ci"]
        assert 0 <= low <= 75 <= high <= 100
    assert document["dropped"] == {"contempt": 1}


def test_standard_output_as_a_file_gets_the_document(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", str(predictions), "-o", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["uar"] == 75.0


def test_the_bootstrap_is_seeded_and_can_be_left_out(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["score", str(predictions), "-f", "json"]
    outputs = []
    for extra in (["--seed", "3"], ["--seed", "3"], ["--bootstrap", "0"]):
        assert run([*common, *extra]) == 0
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0] == outputs[1]
    assert outputs[2]["uar_ci"] is None


def without_cautions(err: str) -> list[str]:
    """Returns the lines of standard error, except those that warn of few videos."""
    return [line for line in err.splitlines() if "n = " not in line]


def test_folds(predictions: Path, second: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(predictions), str(second)]
    assert run(["score", *files]) == 0
    out, err = capsys.readouterr()
    assert "UAR 87.50 ± 17.68, WAR 87.50 ± 17.68" in out
    assert "over 2 folds" in out
    assert "class, all files" in out
    assert f"{predictions}: n = 4" in err, "too few videos for reliable scores"
    dropped, absent = without_cautions(err)
    assert dropped.startswith(f"{predictions}: dropped 1 video")
    assert absent.startswith(f"{second}: no videos ")
    assert "happiness" in absent
    assert run(["score", *files, "-f", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["uar"], document["uar_sd"]) == (87.5, 17.67767)
    assert document["num_folds"] == len(document["folds"]) == 2


def test_the_labels_of_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("source,target,label\na,happy,happy\nb,fear,happy\n", encoding="utf-8")
    arguments = ["score", str(path), "-f", "json"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["uar"] == 50.0
    assert run([*arguments, "--labels", "happy,sad"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["uar"], document["dropped"]) == (100.0, {"fear": 1})
    (tmp_path / "labels.yaml").write_text("happy: a smiling face.\nsad:\n", encoding="utf-8")
    assert run([*arguments, "--labels", str(tmp_path / "labels.yaml")]) == 0
    assert json.loads(capsys.readouterr().out) == document


def test_files_written_with_the_table(
    predictions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["score", str(predictions)]
    picture = tmp_path / "confusion.png"
    for ending in ("json", "csv"):
        assert run([*common, "-o", str(tmp_path / f"report.{ending}")]) == 0
    assert run([*common, "--plot", str(picture)]) == 0
    assert "UAR (%)" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["uar"] == 75.0
    (row,) = csv.DictReader((tmp_path / "report.csv").read_text().splitlines())
    assert (row["uar"], row["num_dropped"]) == ("75.0", "1")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_picture_of_folds(predictions: Path, second: Path, tmp_path: Path) -> None:
    picture = tmp_path / "folds.svg"
    files = [str(predictions), str(second)]
    assert run(["score", *files, "--plot", str(picture)]) == 0
    assert "<svg" in picture.read_text(encoding="utf-8")


@pytest.mark.parametrize("option", ["-o", "--plot"])
def test_a_file_is_replaced_only_with_overwrite(
    option: str, predictions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ("report.json" if option == "-o" else "confusion.png")
    path.write_text("mine", encoding="utf-8")
    arguments = ["score", str(predictions), option, str(path)]
    assert run(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "mine"
    assert run([*arguments, "--overwrite"]) == 0
    assert path.read_bytes() != b"mine"


@pytest.mark.parametrize(("option", "name"), [("-o", "report.txt"), ("--plot", "picture.doc")])
def test_an_unsupported_extension_is_refused_before_anything_is_written(
    option: str, name: str, predictions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    good = ["--plot", "good.png"] if option == "-o" else ["-o", "good.json"]
    arguments = [good[0], str(tmp_path / good[1]), option, str(tmp_path / name)]
    assert run(["score", str(predictions), *arguments]) == 2
    assert repr(name) in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_an_error_is_a_single_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("source,target,label\na,happy,happy\na,sad,happy\n", encoding="utf-8")
    assert run(["score", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("peclip: error: ")
    assert "line 3 repeats 'a' from line 2" in err
    assert len(err.splitlines()) == 1


def test_predictions_are_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score"]) == 2
    assert "Missing argument" in capsys.readouterr().err


def test_without_matplotlib_the_error_names_the_package_to_install(
    predictions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot = ["--plot", str(tmp_path / "confusion.png")]
    assert run(["score", str(predictions), *plot]) == 5
    assert 'pip install "matplotlib' in capsys.readouterr().err


def test_a_failed_plot_keeps_the_scores(
    predictions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*given: object) -> None:
        raise ConfigError("The disk is full.")

    monkeypatch.setattr("peclip.results.figures.save_figure", full)
    files = ["-o", str(tmp_path / "report.json"), "--plot", str(tmp_path / "confusion.png")]
    assert run(["score", str(predictions), *files]) == 2
    assert "UAR (%)" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["uar"] == 75.0


def test_a_full_disk_keeps_the_scores(
    predictions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("peclip.metrics.scoring.replacing", full)
    arguments = ["score", str(predictions), "-o", str(tmp_path / "report.json")]
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert "UAR (%)" in out
    assert "No space left on device" in err
    assert run([*arguments, "-f", "json"]) == 2
    assert json.loads(capsys.readouterr().out)["uar"] == 75.0


def test_a_closed_pipe_keeps_the_files(
    predictions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*given: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("peclip.cli.evaluation_table.print_evaluation", gone)
    with pytest.raises(BrokenPipeError):
        show(score_files([predictions]), "table", tmp_path / "report.json", None)
    assert json.loads((tmp_path / "report.json").read_text())["uar"] == 75.0


@pytest.mark.parametrize(("option", "name"), [("-o", "report.json"), ("--plot", "picture.png")])
def test_an_unwritable_folder_is_reported_first(
    option: str,
    name: str,
    predictions: Path,
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
    assert run(["score", str(predictions), option, str(locked / name)]) == 2
    assert "not writable" in " ".join(capsys.readouterr().err.split())


def test_a_device_file_is_written_whoever_owns_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    check_output(Path(os.devnull), overwrite=True)


def test_scoring_needs_neither_torch_nor_matplotlib() -> None:
    code = "import sys, peclip.metrics.scoring, peclip.cli.app; print({'torch', 'matplotlib'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# Rows of predict --------------------------------------------------------------------------------


def row(source: str, track: int, window: int, happiness: float, status: str = "ok") -> Row:
    seen = status in ("ok", "low_quality")
    sadness = 1 - happiness
    return Row(
        source=source,
        model="debug",
        model_revision="",
        track_id=track if seen else -1,
        window=window,
        start_s=0.5 * window,
        end_s=0.5 * window + 1,
        start_frame=0,
        end_frame=3,
        num_frames_used=4,
        n_faces=1 if seen else 0,
        status=status,  # type: ignore[arg-type]
        label=("happiness" if happiness >= 0.5 else "sadness") if seen else None,
        score=max(happiness, sadness) if seen else None,
        scores={"happiness": happiness, "sadness": sadness} if seen else {},
        face_conf=0.9 if seen else None,
        face_coverage=1.0 if seen else 0.0,
        box=(0.0, 0.0, 50.0, 50.0) if seen else None,
    )


ROWS = (
    # Person 1 is seen in two windows with status ok, person 0 in one. Their slots are 0.75 s and 0.5 s long, so the mean
    # happiness is (0.75 * 0.2 + 0.5 * 0.6) / 1.25 = 0.36.
    *(row("a.mp4", 0, 0, 0.9), row("a.mp4", 1, 0, 0.2), row("a.mp4", 1, 1, 0.6)),
    row("a.mp4", 1, 2, 1.0, "low_quality"),
    row("b.mp4", 0, 0, 0.7),
    row("c.mp4", -1, 0, 0, "no_face"),
)
COUNTS = "excluded rows: 3, other people: 1, videos without a prediction: 1"


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    path = tmp_path / "targets.csv"
    path.write_text("source,target\na.mp4,Sad\nb.mp4,happy\nc.mp4,sad\n", encoding="utf-8")
    return path


def save_rows(folder: Path, form: str) -> Path:
    path = folder / f"rows.{form}"
    with open_writer(form, path, ("happiness", "sadness")) as writer:
        for name in ("a.mp4", "b.mp4", "c.mp4"):
            part = tuple(r for r in ROWS if r.source == name)
            for one in part:
                writer.write_row(one)
            writer.end_source(Prediction(name, ("happiness", "sadness"), part))
    return path


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_rows_of_predict_become_one_prediction_per_video(
    form: str, targets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_rows(tmp_path, form)
    assert run(["score", str(path), "--targets", str(targets), "-f", "json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert (document["num_videos"], document["uar"], document["war"]) == (2, 100.0, 100.0)
    assert document["support"] == {"happiness": 1, "sadness": 1}
    # Both are right, with 0.64 and 0.7, in two bins: (0.36 + 0.3) / 2.
    assert document["ece"] == 0.33
    note, missing = without_cautions(err)
    assert document["remarks"][0] == note
    assert note.startswith("reduced 6 rows to 2 videos")
    assert COUNTS in note
    assert missing == f"1 of the 3 sources in {targets} have no prediction and are excluded"


def test_predict_rows_without_targets_name_the_missing_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_rows(tmp_path, "csv")
    assert run(["score", str(path)]) == 2
    err = capsys.readouterr().err
    assert str(path) in err
    assert "pass a CSV file with the columns source and target: --targets FILE" in err


def test_parquet_without_pyarrow_names_the_package_to_install(
    targets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = save_rows(tmp_path, "parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert run(["score", str(path), "--targets", str(targets)]) == 5
    assert 'pip install "pandas' in capsys.readouterr().err


# The alias --------------------------------------------------------------------------------------


def test_evaluate_predictions_is_an_alias(
    predictions: Path, second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["-f", "json", "--bootstrap", "10", "--seed", "3", "--labels", "happy,sad"]
    assert run(["score", str(predictions), str(second), *options]) == 0
    expected = capsys.readouterr()
    files = ["--predictions", str(predictions), "--predictions", str(second)]
    assert run(["evaluate", *files, *options]) == 0
    out, err = capsys.readouterr()
    assert out == expected.out
    notice, *rest = err.splitlines()
    assert "alias for peclip score FILE" in notice
    assert rest == expected.err.splitlines()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--dataset", "dfew"], "--dataset"),
        (["-m", "nano"], "--model"),
        (["-b", "8"], "--batch-size"),
        (["--no-progress"], "--progress"),
    ],
)
def test_the_alias_accepts_only_the_options_of_score(
    given: list[str], named: str, predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "--predictions", str(predictions), *given]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"cannot be combined with {named}." in err
