"""The report of a run keeps its numbers and its JSON form when it is read again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from peclip.errors import ConfigError
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.report import Report
from peclip.runs.run_files import REPORT, read_report
from peclip.runs.run_report import ModelReport, RunReport

BARE = ModelReport(
    dataset="dfew",
    fold=1,
    base="nano",
    selected_on="val",
    selected_epoch=2,
    epochs=3,
    stopped_early=False,
    targets="labels",
)


def scored(counts: list[list[int]], **changes: object) -> ModelReport:
    confusion = ConfusionMatrix(("happiness", "sadness"), counts)
    report = replace(BARE, reported_on="dfew fold 1 test", scores=Report.of(confusion, ece=0.125))
    return replace(report, **changes)  # type: ignore[arg-type]


def test_without_scores_their_keys_are_absent() -> None:
    assert BARE.to_dict() == {
        "dataset": "dfew",
        "fold": 1,
        "base": "nano",
        "selected_on": "val",
        "selected_epoch": 2,
        "epochs": 3,
        "stopped_early": False,
        "targets": "labels",
    }


@pytest.mark.parametrize(
    "report",
    [
        BARE,
        scored([[2, 1], [0, 4]]),
        scored([[1, 2], [5, 7]], notes=("A note.",), warning="Too high.", captions=7),
        scored([[1, 2], [0, 0]], operating_point={"prior_weight": 0.5}),
    ],
)
def test_a_report_round_trips(report: ModelReport, tmp_path: Path) -> None:
    text = json.dumps(report.to_dict())
    (tmp_path / REPORT).write_text(text)
    again = read_report(tmp_path)
    assert json.dumps(again.to_dict()) == text, "the order of the keys too"
    if report.scores is not None:
        assert again.scores is not None
        assert (again.scores.uar, again.scores.war) == (report.scores.uar, report.scores.war)


def test_the_mean_over_folds() -> None:
    """UAR of the folds: (1 + 1/2) / 2 = 75 %, and 50 %; their WAR: 75 % and 25 %."""
    folds = (
        scored([[2, 0], [1, 1]], warning="Too high."),
        scored([[0, 3], [0, 1]], fold=2, warning="Too high."),
    )
    found = RunReport(folds).to_dict()
    assert list(found) == [
        *("dataset", "selected_on", "num_folds", "uar", "uar_sd", "war", "war_sd"),
        *("warning", "folds"),
    ]
    assert (found["uar"], found["war"], found["num_folds"]) == (62.5, 50.0, 2)
    assert (found["uar_sd"], found["war_sd"]) == (
        pytest.approx(17.67767),
        pytest.approx(35.355339),
    )
    assert found["warning"] == "Too high."
    assert found["folds"] == [fold.to_dict() for fold in folds]


def test_a_fold_without_scores_leaves_no_mean() -> None:
    assert RunReport((scored([[1, 0], [0, 1]]), BARE)).mean is None
    assert RunReport((BARE,)).to_dict() == BARE.to_dict()


@pytest.mark.parametrize("text", ["{", "[]", '{"dataset": "dfew"}'])
def test_a_corrupt_report_gives_the_remedy(text: str, tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text(text)
    with pytest.raises(ConfigError, match=r"report\.json' is corrupt\. Delete it and resume"):
        read_report(tmp_path)
