"""`peclip plots` as a person types it, in process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Output, command, refused, trained

from peclip.cli.app import run
from peclip.metrics.video_features import read_features


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Four videos with probabilities: UAR 75, WAR 75."""
    path = tmp_path / "predictions.csv"
    rows = ["a,happy,happy,0.8,0.2", "b,happy,sad,0.4,0.6", "c,sad,sad,0,1", "d,sad,sad,0.3,0.7"]
    path.write_text("\n".join(["source,target,label,prob_happy,prob_sad", *rows]), encoding="utf-8")
    return path


@pytest.fixture
def better(tmp_path: Path) -> Path:
    path = tmp_path / "better.csv"
    rows = ["a,happy,happy", "b,happy,happy", "c,sad,sad", "d,sad,sad"]
    path.write_text("\n".join(["source,target,label", *rows]), encoding="utf-8")
    return path


def test_a_prediction_file(predictions: Path, tmp_path: Path, capsys: Output) -> None:
    folder = tmp_path / "figures"
    assert run(["plots", str(predictions), "-o", str(folder), "-f", "svg"]) == 0
    names = ["confusion", "confusion-counts", "reliability", "recall"]
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(folder / f"{name}.svg") for name in names]
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{n}.svg" for n in names)
    assert "curves is not drawn" in err
    assert "n = 4" in err
    assert "already exists" in refused(
        capsys, "plots", str(predictions), "-o", str(folder), "-f", "svg"
    )
    only = ["plots", str(predictions), "-o", str(folder), "--only", "recall", "--overwrite"]
    assert run(only) == 0
    assert (folder / "recall.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_and_the_features_of_its_model(root: Path, tmp_path: Path, capsys: Output) -> None:
    pytest.importorskip("sklearn", reason="needs the extra: pip install 'peclip[tsne]'")
    out, folder = tmp_path / "run", tmp_path / "figures"
    trained(capsys, *command(root, out, "--epochs", "1"))
    assert run(["plots", str(out), "-o", str(folder)]) == 0
    drawn = {path.name for path in folder.iterdir()}
    assert drawn == {
        f"{n}.png" for n in ("confusion", "confusion-counts", "reliability", "recall", "curves")
    }
    arguments = ["--only", "tsne", "--device", "cpu"]
    assert run(["plots", str(out), "-o", str(folder), *arguments]) == 0
    assert {path.name for path in folder.iterdir()} - drawn == {"tsne.png", "features.npz"}
    features = read_features(folder / "features.npz")
    assert sorted(features.targets) == ["happiness"] * 3 + ["sadness"] * 3
    assert np.linalg.norm(features.values, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    assert "folder test" in features.about
    assert "debug" in features.about
    again = ["--features", str(folder / "features.npz"), "--only", "tsne", "--overwrite"]
    first = (folder / "tsne.png").read_bytes()
    assert run(["plots", str(out), "-o", str(folder), *again]) == 0
    assert (folder / "tsne.png").read_bytes() == first, "the seed is fixed"
    moved = tmp_path / "moved"
    shutil.copytree(root / "train", moved / "train")
    text = refused(
        capsys, "plots", str(out), "-o", str(tmp_path / "x"), *arguments, "--data-root", str(moved)
    )
    assert "--data-root" in text
    (out / "predictions.csv").unlink()
    assert run(["plots", str(out), "-o", str(tmp_path / "y")]) == 0
    assert [path.name for path in (tmp_path / "y").iterdir()] == ["curves.png"]


def test_a_comparison(predictions: Path, better: Path, tmp_path: Path, capsys: Output) -> None:
    """Happiness 50 and 100 %: UAR and WAR rise from 75 to 100."""
    folder = tmp_path / "figures"
    arguments = ["plots", "--compare", str(predictions), str(better), "-o", str(folder)]
    assert run(arguments) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert lines[:2] == [[str(folder / "differences.png")], [str(folder / "comparison.json")]]
    assert lines[3][:5] == ["UAR", "4", "75.00", "100.00", "+25.00"]
    assert lines[4][:5] == ["WAR", "4", "75.00", "100.00", "+25.00"]
    assert lines[5][:5] == ["happiness", "2", "50.00", "100.00", "+50.00"]
    assert lines[4][8:] == ["1.000"], "one video differs, in either direction"
    assert "only first 0, only second 1, both wrong 0" in out
    document = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert (document["num_videos"], document["war"]["difference"]) == (4, 25)
    subjects = tmp_path / "subjects.csv"
    subjects.write_text("source,subject\na,x\nb,x\nc,y\nd,y\n", encoding="utf-8")
    assert run([*arguments, "--overwrite", "--subjects", str(subjects)]) == 0
    assert "4 videos, 2 subjects" in capsys.readouterr().out
    assert json.loads((folder / "comparison.json").read_text())["num_subjects"] == 2


def test_the_title_of_a_comparison_names_files_without_their_folders(
    predictions: Path, better: Path
) -> None:
    from peclip.cli.plot_sources import PlotReader, compared
    from peclip.runs.evaluate_options import EvaluateOptions

    reader = PlotReader(None, None, "DFEW fold 1 test", EvaluateOptions())
    found = compared((predictions, better), None, reader)
    assert (found.videos, found.model) == (
        "DFEW fold 1 test. First: predictions.csv",
        "Second: better.csv",
    )
    again = compared((predictions, predictions), None, reader)
    assert again.model == f"Second: {predictions.parent.name}/predictions.csv"


def test_a_run_of_several_folds_is_merged(root: Path, tmp_path: Path, capsys: Output) -> None:
    whole = tmp_path / "run"
    trained(capsys, *command(root, whole / "fold-1", "--epochs", "1"))
    shutil.copytree(whole / "fold-1", whole / "fold-2")
    shutil.copy(whole / "fold-1" / "config.yaml", whole)
    text = refused(capsys, "plots", str(whole), "-o", str(tmp_path / "x"))
    assert "is in several folds" in text
    file = whole / "fold-2" / "predictions.csv"
    head, *rows = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([head, *(f"other/{row}" for row in rows)]), encoding="utf-8")
    from peclip.runs.run_results import read_run

    found = read_run(whole)
    assert found.report is not None
    assert found.report.num_videos == 12
    assert list(found.histories) == ["fold-1", "fold-2"]
    assert "2 folds merged" in found.videos
    assert "one model per fold" in refused(
        capsys, "plots", str(whole), "-o", str(tmp_path / "x"), "--only", "tsne"
    )


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ([], "--compare RUN_A RUN_B"),
        (["P", "--compare", "P", "P"], "pass one of them"),
        (["P", "--only", "roc"], "choose from confusion"),
        (["P", "--only", "confusion,curves"], "metrics.jsonl"),
        (["P", "--only", "tsne"], "--features"),
        (["P", "--only", "differences"], "--compare"),
        (["P", "--subjects", "P"], "--compare"),
        (["P", "--data-root", "."], "--only tsne"),
        (["--compare", "P", "P", "--only", "recall"], "Remove --only"),
        (["DIR"], "run folder"),
        (["P", "-o", "P"], "choose a folder"),
    ],
)
def test_refused(
    arguments: list[str], remedy: str, predictions: Path, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "empty").mkdir()
    named = {"P": str(predictions), "DIR": str(tmp_path / "empty")}
    folder = tmp_path / "figures"
    words = ["plots", *([] if "-o" in arguments else ["-o", str(folder)])]
    assert remedy in refused(capsys, *words, *(named.get(word, word) for word in arguments))
    assert not folder.exists(), "nothing was drawn"
