"""Files of predictions become reports, across label sets and over folds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from peclip.errors import ConfigError
from peclip.metrics.scoring import score_files

PROBS = "source,target,label,prob_happiness,prob_sadness\n"


def save(folder: Path, pairs: str, name: str = "predictions.csv") -> Path:
    """Writes pairs such as `happy>sad sad>sad` as a file of targets and labels."""
    path = folder / name
    rows = [f"{n}.mp4,{pair.replace('>', ',')}\n" for n, pair in enumerate(pairs.split())]
    path.write_text("source,target,label\n" + "".join(rows), encoding="utf-8")
    return path


def test_a_file_without_probabilities(tmp_path: Path) -> None:
    path = save(tmp_path, "Happy>joy happy>sad sad>sad fear>sad")
    evaluation = score_files([path], resamples=100)
    (fold,) = evaluation.folds
    report = fold.report
    assert report is evaluation.merged
    assert report.labels == ("happiness", "sadness", "fear")  # the order of the field
    assert report.confusion.counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert report.war == 0.5
    assert report.uar == 0.5
    assert report.ece is None
    assert report.dropped == report.unmatched == {}
    assert fold.remarks == ()


def test_a_class_that_is_never_predicted_is_not_dropped(tmp_path: Path) -> None:
    """Nothing says that the model lacks the label, and dropping it would raise the fold."""
    (fold,) = score_files([save(tmp_path, "happy>happy disgust>happy")]).folds
    assert fold.report.recall == {"happiness": 1.0, "disgust": 0.0}
    assert fold.report.uar == 0.5


def test_custom_labels_follow_in_alphabetical_order(tmp_path: Path) -> None:
    path = save(tmp_path, "yawn>yawn bored>yawn fear>fear")
    assert score_files([path]).merged.labels == ("fear", "bored", "yawn")


def test_a_single_class_can_be_scored(tmp_path: Path) -> None:
    assert score_files([save(tmp_path, "fear>fear")]).merged.uar == 1


def test_the_columns_of_probabilities_are_the_labels_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    rows = ["a,joy,happy,0.8,0.2", "b,sad,happy,0.6,0.4", "c,contempt,sad,0.1,0.9"]
    rows += ["d,contempt,sad,0.1,0.9", "e,fear,sad,0.3,0.7"]
    path.write_text(PROBS + "\n".join(rows), encoding="utf-8")
    (fold,) = score_files([path]).folds
    assert fold.report.labels == ("happiness", "sadness")
    assert fold.report.num_videos == 2
    assert fold.report.dropped == {"contempt": 2, "fear": 1}
    assert fold.remarks == (
        "dropped 2 videos of contempt, 1 of fear, because the model does not have these labels",
    )
    assert fold.report.ece == pytest.approx((0.2 + 0.6) / 2)  # the dropped ones play no part
    assert fold.to_dict()["dropped"] == {"contempt": 2, "fear": 1}


def test_a_prediction_that_no_target_has_is_wrong(tmp_path: Path) -> None:
    (fold,) = score_files([save(tmp_path, "happy>happy sad>contempt sad>sad")]).folds
    assert fold.report.war == pytest.approx(2 / 3)
    assert fold.report.uar == 0.75
    assert fold.report.unmatched == {"contempt": 1}
    assert fold.remarks == (
        "1 prediction of contempt (no video has this target, so these count as wrong)",
        "no videos labelled contempt: recall is undefined, and UAR is the mean over the remaining classes (2)",
    )


def test_the_labels_of_the_model_can_be_given(tmp_path: Path) -> None:
    path = save(tmp_path, "happy>happy sad>happy contempt>sad")
    (fold,) = score_files([path], labels=["Sad", "Happy", "anger"]).folds
    assert fold.report.labels == ("sadness", "happiness", "anger")
    assert fold.report.dropped == {"contempt": 1}
    assert fold.report.uar == 0.5


def test_a_prediction_outside_the_given_labels_is_an_error(tmp_path: Path) -> None:
    path = save(tmp_path, "happy>happy sad>fear")
    with pytest.raises(
        ConfigError,
        match=r"predictions\.csv.* '1\.mp4' has the predicted label 'fear', but .* happiness, sadness",
    ):
        score_files([path], labels=["happy", "sad"])


def test_given_labels_must_be_those_of_the_probabilities(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(PROBS + "a,joy,happy,0.8,0.2\n", encoding="utf-8")
    assert score_files([path], labels=["sad", "happy"]).merged.labels == ("sadness", "happiness")
    with pytest.raises(ConfigError, match="models with different labels separately"):
        score_files([path], labels=["sad", "happy", "fear"])


def test_no_common_label_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of the labels in the targets .contempt"):
        score_files([save(tmp_path, "contempt>sad")], labels=["happy", "sad"])


def test_no_file_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        score_files([])


# Folds ------------------------------------------------------------------------------------------


@pytest.fixture
def folds(tmp_path: Path) -> list[Path]:
    return [
        save(tmp_path, "happy>happy sad>happy", "fold1.csv"),
        save(tmp_path, "happy>happy sad>sad fear>fear happy>happy", "fold2.csv"),
    ]


def test_folds_are_averaged_and_merged(folds: list[Path]) -> None:
    evaluation = score_files(folds, resamples=10)
    assert [fold.name for fold in evaluation.folds] == [str(path) for path in folds]
    assert (evaluation.mean.war, evaluation.mean.uar) == (0.75, 0.75)
    assert evaluation.merged.war == pytest.approx(5 / 6)
    assert evaluation.merged.uar_ci is None
    # A class that one fold lacks has no recall there, and the labels are the same in both.
    assert evaluation.folds[0].report.labels == evaluation.merged.labels
    assert evaluation.folds[0].report.recall["fear"] is None
    assert evaluation.folds[0].remarks == (
        "no videos labelled fear: recall is undefined, and UAR is the mean over the remaining classes (2)",
    )


def test_the_json_form_of_folds(folds: list[Path]) -> None:
    document = score_files(folds, resamples=10).to_dict()
    assert (document["uar"], document["war"], document["num_folds"]) == (75.0, 75.0, 2)
    assert document["war_sd"] == pytest.approx(35.355339)
    assert document["num_videos"] == document["merged"]["num_videos"] == 6
    assert [fold["war"] for fold in document["folds"]] == [50.0, 100.0]
    assert document["folds"][0]["predictions"] == str(folds[0])
    assert len(document["folds"][0]["war_ci"]) == 2


def test_folds_of_models_with_different_labels_are_refused(tmp_path: Path) -> None:
    for name, header in (("a", PROBS), ("b", PROBS.replace("sadness", "fear"))):
        text = header + "x,happy,happy,0.5,0.5\n"
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"b\.csv.* are for the labels happiness, fear.* happiness, sadness"
    ):
        score_files([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_the_order_of_probability_columns_may_differ(tmp_path: Path) -> None:
    swapped = "source,target,label,prob_sad,prob_happy\n"
    for name, header in (("a", PROBS), ("b", swapped)):
        text = header + "x,happy,happy,0.5,0.5\n"
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    evaluation = score_files([tmp_path / "a.csv", tmp_path / "b.csv"])
    assert evaluation.merged.labels == ("happiness", "sadness")
    assert evaluation.merged.war == 1


# Files ------------------------------------------------------------------------------------------


def test_saved_as_json(folds: list[Path], tmp_path: Path) -> None:
    evaluation = score_files(folds)
    evaluation.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == evaluation.to_dict()


def test_saved_as_csv(folds: list[Path], tmp_path: Path) -> None:
    score_files(folds).save(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="") as stream:
        first, second, mean, sd = csv.DictReader(stream)
    assert first["predictions"] == str(folds[0])
    assert (first["num_videos"], first["war"], first["recall_fear"]) == ("2", "50.0", "")
    assert float(first["war_low"]) <= 50 <= float(first["war_high"])
    assert second["recall_fear"] == "100.0"
    assert (mean["predictions"], mean["war"], mean["uar"]) == ("mean", "75.0", "75.0")
    assert (sd["predictions"], sd["war"]) == ("sd", "35.355339")


def test_one_file_is_one_row_of_csv(folds: list[Path], tmp_path: Path) -> None:
    score_files(folds[:1]).save(tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 1


def test_an_unsupported_extension_and_a_missing_folder(folds: list[Path], tmp_path: Path) -> None:
    evaluation = score_files(folds)
    with pytest.raises(ConfigError, match=r"use \.json, \.csv"):
        evaluation.save(tmp_path / "report.txt")
    with pytest.raises(ConfigError, match="cannot be written"):
        evaluation.save(tmp_path / "none" / "report.csv")
