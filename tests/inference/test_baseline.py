"""A person's own baseline, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from peclip.errors import ConfigError
from peclip.inference.baseline import Baseline, baseline_of, centred
from peclip.models.pe_clip_config import PEClipConfig
from peclip.results.rows import Row

LABELS = ("neutral", "anger")
EVEN = {"neutral": 0.0, "anger": 0.0}


def config(**baselines: dict[str, float]) -> PEClipConfig:
    return PEClipConfig(labels=LABELS, baselines=baselines)


def row(window: int, anger: float | None, track: int = 0, **changes: Any) -> Row:
    scores = {} if anger is None else {"neutral": 1 - anger, "anger": anger}
    label = max(scores, key=lambda name: scores[name]) if scores else None
    values: dict[str, Any] = {"status": "ok" if scores else "no_face", "label": label}
    values |= {"score": None if label is None else scores[label], "scores": scores}
    return Row("a", "m", "", track, window, 0.0, 1.0, 0, 1, 1, 1, **(values | changes))


def run(baseline: Baseline, rows: list[Row]) -> list[Row]:
    early = [kept for one in rows for kept in baseline.hold(one)]
    assert early == []
    return list(baseline.rest())


def test_logarithms_are_centred() -> None:
    # ln 0.9 and ln 0.1 differ by ln 9: half of it on either side.
    half = math.log(9) / 2
    assert centred({"a": 0.9, "b": 0.1}) == pytest.approx({"a": half, "b": -half})
    assert math.isfinite(centred({"a": 1.0, "b": 0.0})["b"])


def test_the_neutral_baseline_is_of_the_most_neutral_fifth() -> None:
    windows = [{"neutral": 1 - a, "anger": a} for a in (0.1, 0.2, *[0.9] * 8)]
    # The two most neutral windows have the odds 9 and 4: half of the mean logarithm.
    half = (math.log(9) + math.log(4)) / 4
    assert baseline_of("neutral", windows)["neutral"] == pytest.approx(half)
    assert baseline_of("median", windows)["anger"] == pytest.approx(math.log(9) / 2)


def test_a_person_who_always_looks_angry_is_corrected() -> None:
    rows = [row(window, 0.75) for window in range(9)] + [row(9, 0.9)]
    found = run(Baseline("median", config(median=EVEN), min_score=0.0), rows)
    # Odds of anger: 3 in the median, so 3 becomes 1 and 9 becomes 3.
    assert [one.scores["anger"] for one in found] == pytest.approx([0.5] * 9 + [0.75])
    assert [one.label for one in found[-1:]] == ["anger"]
    assert found[-1].score == pytest.approx(0.75)


def test_a_person_like_the_reference_keeps_the_probabilities() -> None:
    rows = [row(window, anger) for window, anger in enumerate((0.1, 0.2, *[0.25] * 7, 0.9))]
    half = math.log(3) / 2
    reference = {"neutral": half, "anger": -half}
    found = run(Baseline("median", config(median=reference), min_score=0.0), rows)
    assert [r.scores for r in found] == [pytest.approx(dict(r.scores)) for r in rows]
    assert [r.label for r in found] == [r.label for r in rows]


def test_people_are_corrected_one_by_one_and_few_windows_not_at_all() -> None:
    rows = [row(window, 0.75) for window in range(10)]
    rows += [row(window, 0.75, track=1) for window in range(9)] + [row(10, None, track=-1)]
    baseline = Baseline("median", config(median=EVEN), min_score=0.0)
    found = run(baseline, rows)
    assert baseline.metadata == {"without_baseline": [1]}
    assert found[10:] == rows[10:]
    assert found[0].scores["anger"] == pytest.approx(0.5)


def test_the_minimum_score_is_for_the_corrected_probabilities() -> None:
    rows = [row(window, 0.75) for window in range(9)] + [row(9, 0.9)]
    rows[0] = row(0, 0.75, status="uncertain", label=None, score=None)
    found = run(Baseline("median", config(median=EVEN), min_score=0.7), rows)
    assert [one.status for one in found] == ["uncertain"] * 9 + ["ok"]
    assert (found[1].label, found[1].score) == (None, None)


def test_windows_of_low_quality_do_not_count() -> None:
    rows = [row(window, 0.75) for window in range(10)]
    rows += [row(10 + n, 0.1, status="low_quality") for n in range(30)]
    found = run(Baseline("median", config(median=EVEN), min_score=0.0), rows)
    assert found[0].scores["anger"] == pytest.approx(0.5)
    assert found[-1].status == "low_quality"
    # Odds of 1 / 9 over 3.
    assert found[-1].scores["anger"] == pytest.approx(1 / 28)


def test_a_model_without_the_baseline_is_an_error() -> None:
    with pytest.raises(ConfigError, match="'neutral'"):
        Baseline("neutral", config(median=EVEN), min_score=0.0)


def test_other_labels_have_no_baseline() -> None:
    known = config(median=EVEN)
    assert known.with_labels(LABELS[::-1], {}).baselines == {"median": EVEN}
    assert known.with_labels(("neutral", "bored"), {}).baselines == {}
    with pytest.raises(ValueError, match=r"baselines\.median"):
        PEClipConfig(labels=LABELS, baselines={"median": {"neutral": 0.0}})


def test_without_a_baseline_rows_are_not_held() -> None:
    baseline = Baseline(None, config(), min_score=0.0)
    one = row(0, 0.5)
    assert list(baseline.hold(one)) == [one]
    assert list(baseline.rest()) == []
    assert baseline.metadata == {}
