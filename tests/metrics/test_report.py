"""UAR, WAR and their company, computed by hand and against published logs."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest

from peclip.errors import ConfigError
from peclip.labels import EMOTIONS, LabelSet
from peclip.metrics.calibration_error import calibration_error
from peclip.metrics.confusion import ConfusionMatrix
from peclip.metrics.folds import mean_over_folds
from peclip.metrics.intervals import bootstrap
from peclip.metrics.report import Report

ABC = ("a", "b", "c")
# Rows are targets: 4 of a, 2 of b, 4 of c.
COUNTS = [[3, 1, 0], [1, 1, 0], [1, 1, 2]]


def report(counts: list[list[int]], resamples: int = 0) -> Report:
    return Report.of(ConfusionMatrix(ABC[: len(counts)], counts), resamples=resamples)


# The confusion matrix ---------------------------------------------------------------------------


def test_rows_are_targets_and_columns_are_predictions() -> None:
    confusion = ConfusionMatrix(LabelSet.of(["anger", "fear"]))
    confusion.add("anger", "fear")
    confusion.add("Angry", "afraid")
    confusion.add("fear", "fear")
    assert confusion.counts.tolist() == [[0, 2], [0, 1]]
    assert confusion.counts.dtype == np.int64
    assert confusion.num_videos == 3
    assert confusion.support.tolist() == [2, 1]
    assert confusion.hits.tolist() == [0, 1]


def test_pairs_of_names_are_counted_in_any_spelling() -> None:
    confusion = ConfusionMatrix.of(["Happy", "sad"], ["joy", "SAD", "sad"], ["happiness"] * 3)
    assert confusion.labels == ("happiness", "sadness")
    assert confusion.counts.tolist() == [[1, 0], [2, 0]]


def test_folds_and_ranks_add_up() -> None:
    targets, predictions = list("aabbccab"), list("abbccaab")
    parts = [ConfusionMatrix.of(ABC, targets[rank::3], predictions[rank::3]) for rank in range(3)]
    assert parts[0] + parts[1] + parts[2] == ConfusionMatrix.of(ABC, targets, predictions)


def test_adding_leaves_both_as_they_were() -> None:
    first, second = ConfusionMatrix(ABC, COUNTS), ConfusionMatrix(ABC, COUNTS)
    (first + second).add("a", "a")
    assert first == second == ConfusionMatrix(ABC, COUNTS)


@pytest.mark.parametrize("labels", [("a", "b"), ("a", "c", "b"), ("a", "b", "d")])
def test_other_labels_are_not_added(labels: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="cannot be added"):
        ConfusionMatrix(ABC) + ConfusionMatrix(labels)


def test_an_unknown_name_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(ConfigError, match=r"'d' is not a class .* a, b, c"):
        ConfusionMatrix(ABC).add("a", "d")


def test_sequences_must_pair() -> None:
    with pytest.raises(ConfigError, match="2 targets but 1 predictions"):
        ConfusionMatrix.of(ABC, ["a", "b"], ["a"])


@pytest.mark.parametrize("labels", [(), ("a", "a"), ("happy", "Joy")])
def test_names_must_differ(labels: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="class names .* must be unique"):
        ConfusionMatrix(labels)


@pytest.mark.parametrize("counts", [[[1, 2]], [[1, -1], [0, 0]], [[0.5, 0], [0, 0]]])
def test_counts_must_be_whole_and_fit(counts: list[list[float]]) -> None:
    with pytest.raises(ConfigError, match="2 x 2 array"):
        ConfusionMatrix(("a", "b"), counts)


# The report -------------------------------------------------------------------------------------


def test_uar_by_hand() -> None:
    found = report(COUNTS)
    assert found.num_videos == 10
    assert found.support == {"a": 4, "b": 2, "c": 4}
    assert found.recall == {"a": 3 / 4, "b": 1 / 2, "c": 2 / 4}
    assert found.precision == {"a": 3 / 5, "b": 1 / 3, "c": 1.0}
    assert found.f1 == {"a": 6 / 9, "b": 2 / 5, "c": 4 / 6}
    assert found.war == 6 / 10
    assert found.uar == pytest.approx((3 / 4 + 1 / 2 + 2 / 4) / 3)
    assert found.macro_f1 == pytest.approx((6 / 9 + 2 / 5 + 4 / 6) / 3)
    assert (found.ece, found.uar_ci, found.war_ci) == (None, None, None)


def test_uar_is_over_the_classes_that_occur() -> None:
    """The case of ecosystem.md, finding 4: torchmetrics says 0.50."""
    found = Report.of(ConfusionMatrix.of(ABC, list("abba"), list("abbc")))
    assert found.uar == 0.75
    assert found.recall == {"a": 0.5, "b": 1.0, "c": None}
    assert found.f1 == {"a": pytest.approx(2 / 3), "b": 1.0, "c": None}
    assert found.precision["c"] == 0.0
    assert found.macro_f1 == pytest.approx(5 / 6)


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    found = report([[2, 0], [1, 0]])
    assert found.precision == {"a": 2 / 3, "b": None}
    assert found.f1["b"] == found.recall["b"] == 0.0


def test_perfect_and_worst() -> None:
    perfect, worst = report([[5, 0], [0, 1]], 50), report([[0, 5], [1, 0]], 50)
    assert (perfect.uar, perfect.war, perfect.macro_f1) == (1, 1, 1)
    assert perfect.uar_ci == perfect.war_ci == (1, 1)
    assert (worst.uar, worst.war, worst.macro_f1) == (0, 0, 0)
    assert worst.uar_ci == worst.war_ci == (0, 0)


def test_a_report_is_not_changed_by_what_is_counted_later() -> None:
    confusion = ConfusionMatrix(ABC, COUNTS)
    before = Report.of(confusion)
    confusion.add("a", "b")
    assert before.confusion == ConfusionMatrix(ABC, COUNTS)


def test_an_empty_count_gives_no_report() -> None:
    with pytest.raises(ConfigError, match="No videos were counted"):
        Report.of(ConfusionMatrix(ABC))


def test_a_score_in_words_has_its_interval() -> None:
    # Recalls 2/4 and 1/1: UAR 0.75; WAR 3/5.
    plain = report([[2, 2], [0, 1]])
    assert (plain.in_words("uar"), plain.in_words("war")) == ("75.00 %", "60.00 %")
    known = replace(plain, uar_ci=(0.5, 1.0))
    assert known.in_words("uar") == "75.00 % (95 % interval 50.00 to 100.00)"


def test_few_videos_need_caution() -> None:
    assert report([[29, 0], [0, 1]]).caution is None
    assert "n = 4: " in str(report([[2, 0], [0, 2]]).caution)


def test_the_json_form_is_in_per_cent() -> None:
    document = Report.of(ConfusionMatrix.of(ABC, list("abba"), list("abbc")), ece=0.125).to_dict()
    assert json.loads(json.dumps(document)) == document
    assert (document["uar"], document["war"], document["ece"]) == (75.0, 75.0, 0.125)
    assert document["num_videos"] == 4
    assert document["labels"] == ["a", "b", "c"]
    assert document["recall"] == {"a": 50.0, "b": 100.0, "c": None}
    assert document["f1"] == {"a": 66.666667, "b": 100.0, "c": None}
    assert document["confusion"] == [[1, 0, 1], [0, 2, 0], [0, 0, 0]]
    for name in ("uar", "war"):
        low, high = document[f"{name}_ci"]
        assert 0 <= low <= document[name] <= high <= 100
    assert set(document["units"]) <= set(document)


# Published logs of MAE-DFER ---------------------------------------------------------------------

# The numbers are those that https://github.com/sunlicai/MAE-DFER prints for its models (MIT licence).
# MAFW's own order, which the log uses, is alphabetical for the first seven.
_MAFW = (
    *("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"),
    *EMOTIONS[7:],
)


PUBLISHED = {
    "dfew": (
        EMOTIONS[:7],
        [
            [454, 7, 10, 14, 2, 1, 1],
            [5, 292, 49, 15, 11, 1, 6],
            [19, 30, 403, 38, 33, 5, 6],
            [9, 9, 49, 336, 22, 3, 7],
            [4, 11, 58, 9, 194, 0, 18],
            [0, 0, 16, 4, 3, 3, 3],
            [1, 20, 23, 17, 48, 1, 71],
        ],
        [92.84, 77.04, 75.47, 77.24, 65.99, 10.34, 39.23],
        (62.59, 74.88, 0.6357),
    ),
    "ferv39k": (
        EMOTIONS[:7],
        [
            [1076, 57, 201, 59, 40, 33, 7],
            [91, 752, 228, 183, 51, 45, 43],
            [180, 205, 1158, 245, 71, 63, 36],
            [56, 197, 310, 750, 81, 54, 39],
            [78, 63, 138, 116, 192, 17, 34],
            [56, 75, 98, 114, 27, 84, 13],
            [26, 113, 89, 70, 39, 20, 74],
        ],
        [73.05, 53.98, 59.14, 50.44, 30.09, 17.99, 17.17],
        (43.12, 52.07, 0.4366),
    ),
    "mafw": (
        _MAFW,
        [
            [190, 21, 5, 1, 7, 13, 11, 3, 24, 1, 2],
            [17, 39, 0, 4, 4, 15, 8, 7, 25, 1, 8],
            [2, 1, 64, 1, 0, 20, 31, 0, 5, 0, 1],
            [5, 4, 0, 213, 16, 2, 0, 5, 1, 0, 2],
            [19, 6, 1, 8, 127, 13, 13, 8, 20, 10, 3],
            [15, 6, 7, 2, 3, 229, 3, 2, 24, 1, 2],
            [17, 5, 15, 5, 3, 16, 136, 1, 14, 0, 2],
            [2, 9, 1, 20, 9, 0, 1, 1, 0, 3, 1],
            [19, 17, 7, 1, 8, 34, 14, 2, 75, 4, 2],
            [0, 7, 0, 13, 5, 3, 0, 2, 9, 3, 10],
            [2, 2, 1, 1, 2, 5, 1, 3, 7, 3, 9],
        ],
        [68.35, 30.47, 51.20, 85.89, 55.70, 77.89, 63.55, 2.13, 40.98, 5.77, 25.00],
        (46.08, 59.25, 0.4598),
    ),
}
"""By data set: labels, confusion matrix, recall of each label in %, and UAR in %, WAR in %, macro F1."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_scores_are_reproduced(name: str) -> None:
    labels, counts, recalls, (uar, war, macro_f1) = PUBLISHED[name]
    found = Report.of(ConfusionMatrix(labels, counts))
    assert round(100 * found.uar, 2) == uar
    assert round(100 * found.war, 2) == war
    assert round(found.macro_f1, 4) == macro_f1
    assert [
        round(100 * value, 2) for value in found.recall.values() if value is not None
    ] == recalls


# The bootstrap ----------------------------------------------------------------------------------


def test_the_interval_holds_the_point_and_shrinks_with_more_videos() -> None:
    few = report([[30, 10, 5], [8, 20, 4], [2, 6, 15]], 1000)
    many = report([[3000, 1000, 500], [800, 2000, 400], [200, 600, 1500]], 1000)
    for name in ("uar", "war"):
        (low, high), (near_low, near_high) = getattr(few, f"{name}_ci"), getattr(many, f"{name}_ci")
        assert low < getattr(few, name) < high
        assert near_low < getattr(many, name) < near_high
        # A hundred times the videos: a tenth of the width.
        assert (high - low) / (near_high - near_low) == pytest.approx(10, rel=0.15)


def test_the_interval_of_war_is_that_of_a_binomial() -> None:
    low, high = report([[700, 100], [100, 100]], 20_000).war_ci or (0, 0)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 1000)
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.002)


def test_the_interval_is_that_of_drawing_videos_one_by_one() -> None:
    confusion = ConfusionMatrix(ABC, COUNTS)
    pairs = np.repeat(np.arange(9), confusion.counts.ravel())
    generator = np.random.default_rng(1)
    drawn = generator.choice(pairs, (20_000, len(pairs)))
    uars = []
    for row in drawn:
        counts = np.bincount(row, minlength=9).reshape(3, 3)
        support = counts.sum(axis=1)
        uars.append((counts.diagonal()[support > 0] / support[support > 0]).mean())
    interval, _ = bootstrap(confusion, resamples=20_000)
    assert interval == pytest.approx(np.quantile(uars, [0.025, 0.975]), abs=0.01)


def test_the_same_seed_gives_the_same_interval() -> None:
    confusion = ConfusionMatrix(ABC, COUNTS)
    assert bootstrap(confusion, seed=3) == bootstrap(confusion, seed=3)
    large = ConfusionMatrix(ABC, [[311, 57, 12], [40, 200, 33], [17, 29, 150]])
    assert bootstrap(large, seed=3) != bootstrap(large, seed=4)


def test_the_order_of_the_videos_does_not_matter() -> None:
    targets, predictions = list("aaabbbccab"), list("abcabbccaa")
    forward = Report.of(ConfusionMatrix.of(ABC, targets, predictions))
    backward = Report.of(ConfusionMatrix.of(ABC, targets[::-1], predictions[::-1]))
    assert forward == backward


def test_ten_thousand_videos_are_fast() -> None:
    counts = np.full((11, 11), 80) + np.eye(11, dtype=int) * 100
    start = time.perf_counter()
    Report.of(ConfusionMatrix(EMOTIONS, counts))
    assert time.perf_counter() - start < 2


def test_a_negative_number_of_draws_is_refused() -> None:
    with pytest.raises(ConfigError, match="bootstrap is -1"):
        report(COUNTS, -1)


# Calibration ------------------------------------------------------------------------------------


def test_calibration_error_by_hand() -> None:
    """Two bins: {0.1 wrong, 0.4 right} and {0.6 right, 0.8 wrong, 0.9 right}."""
    error = calibration_error([0.1, 0.6, 0.4, 0.8, 0.9], [0, 1, 1, 0, 1], num_bins=2)
    first = abs(1 / 2 - (0.1 + 0.4) / 2)
    second = abs(2 / 3 - (0.6 + 0.8 + 0.9) / 3)
    assert error == pytest.approx(2 / 5 * first + 3 / 5 * second)


def test_a_bin_holds_its_upper_edge() -> None:
    # In one bin, a wrong 0.5 and a right 0.3 cancel partly; in two, they would not.
    assert calibration_error([0.5, 0.3], [0, 1], num_bins=2) == pytest.approx(0.1)
    assert calibration_error([0.51, 0.3], [0, 1], num_bins=2) == pytest.approx((0.51 + 0.7) / 2)


@pytest.mark.parametrize(("confidence", "correct"), [(1.0, 1), (0.0, 0)])
def test_the_ends_are_in_a_bin(confidence: float, correct: int) -> None:
    assert calibration_error([confidence], [correct]) == 0
    assert calibration_error([confidence], [1 - correct]) == 1


# Folds ------------------------------------------------------------------------------------------


def test_mean_and_deviation_over_folds_by_hand() -> None:
    folds = [report([[6, 0], [2, 2]]), report([[1, 0], [1, 0]]), report([[1, 0], [0, 1]])]
    found = mean_over_folds(folds)
    assert [fold.war for fold in folds] == [0.8, 0.5, 1.0]
    assert [fold.uar for fold in folds] == [0.75, 0.5, 1.0]
    assert found.num_folds == 3
    assert found.war == pytest.approx(2.3 / 3)
    assert found.uar == pytest.approx(0.75)
    assert found.uar_sd == pytest.approx(0.25)  # sqrt((0 + 1/16 + 1/16) / 2)
    expected = sum((x - 2.3 / 3) ** 2 for x in (0.8, 0.5, 1.0)) / 2
    assert found.war_sd == pytest.approx(math.sqrt(expected))
    assert found.to_dict() == {
        **{"num_folds": 3, "uar": 75.0, "uar_sd": 25.0},
        **{"war": 76.666667, "war_sd": 25.166115},
    }


def test_every_fold_weighs_the_same() -> None:
    small, large = report([[1, 0], [0, 1]]), report([[0, 50], [50, 0]])
    assert mean_over_folds([small, large]).war == 0.5
    merged = Report.of(small.confusion + large.confusion)
    assert merged.war == pytest.approx(2 / 102)


def test_one_fold_has_no_deviation() -> None:
    found = mean_over_folds([report(COUNTS)])
    assert (found.war, found.war_sd, found.uar_sd) == (0.6, None, None)


def test_zero_folds_have_no_mean() -> None:
    with pytest.raises(ConfigError, match="at least one report"):
        mean_over_folds([])
