"""Paired differences between two models, against hand-computed scores and exact distributions."""

from __future__ import annotations

from math import comb

import pytest

from peclip.errors import ConfigError
from peclip.metrics.comparison import compare
from peclip.metrics.prediction_table import PredictionTable


def table(pairs: list[tuple[str, str]], start: int = 0) -> PredictionTable:
    """Targets and labels; the videos are numbered."""
    ids = tuple(f"v{n}" for n in range(start, start + len(pairs)))
    return PredictionTable(ids, tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


def right(target: str, pattern: str) -> list[tuple[str, str]]:
    """A video of the target per letter of the pattern, `1` predicted correctly and `0` wrongly."""
    return [(target, target if letter == "1" else "other") for letter in pattern]


FIRST = table(right("anger", "1100") + right("fear", "10"))
SECOND = table(right("anger", "1110") + right("fear", "00"))


def test_differences_by_hand() -> None:
    """Recall of anger 2/4 and 3/4, of fear 1/2 and 0: UAR 1/2 and 3/8, WAR 3/6 and 3/6."""
    found = compare(FIRST, SECOND)
    assert (found.uar.first, found.uar.second, found.uar.value) == (0.5, 0.375, -0.125)
    assert (found.war.first, found.war.second, found.war.value) == (0.5, 0.5, 0)
    assert [(one.name, one.num_videos, one.value) for one in found.recall] == [
        ("anger", 4, 0.25),
        ("fear", 2, -0.5),
    ]
    counts = (found.both_right, found.only_first, found.only_second, found.both_wrong)
    assert counts == (2, 1, 1, 2)
    assert (found.num_videos, found.num_subjects, found.unit) == (6, None, "videos")
    assert found.to_dict()["uar"]["difference"] == -12.5
    assert any("n = 6 videos" in note for note in found.notes)


def test_a_model_does_not_differ_from_itself() -> None:
    found = compare(FIRST, FIRST)
    for one in (found.uar, found.war, *found.recall):
        assert one.value == 0
        assert one.interval == (0, 0)
    assert (found.only_first, found.only_second) == (0, 0)


def test_equal_mistakes_with_other_labels_are_no_difference() -> None:
    """Both models are wrong on the same videos: each score varies between draws, the difference does not."""
    other = table(
        [(target, label.replace("other", "third")) for target, label in right("fear", "1100")]
    )
    found = compare(table(right("fear", "1100")), other)
    assert (found.war.value, found.war.interval) == (0, (0, 0))


def test_a_model_that_is_always_right_against_one_that_never_is() -> None:
    found = compare(table(right("fear", "000")), table(right("fear", "111")))
    assert found.uar.value == found.war.value == 1
    assert found.uar.interval == found.war.interval == (1, 1)


def test_the_interval_has_the_percentiles_of_the_exact_distribution() -> None:
    """The second model is right on 10 of 50 videos more: a draw has Binomial(50, 0.2) of them."""
    found = compare(
        table(right("fear", "0" * 10 + "1" * 40)), table(right("fear", "1" * 50)), resamples=20_000
    )
    below, share, ends = 0.0, iter((0.025, 0.975)), []
    limit = next(share)
    for k in range(51):
        below += comb(50, k) * 0.2**k * 0.8 ** (50 - k)
        while limit is not None and below >= limit:
            ends.append(k / 50)
            limit = next(share, None)
    assert ends == [0.1, 0.32]
    assert found.war.value == pytest.approx(0.2)
    assert found.war.interval == pytest.approx(ends)
    assert found.uar.interval == found.war.interval, "there is one class"


def test_subjects_are_drawn_with_all_their_videos() -> None:
    """Four equal videos per subject tell no more than one: the interval is that of one video each."""
    patterns = "0110100101", "1111101101"
    once = [table(right("fear", pattern)) for pattern in patterns]
    often = [
        table([pair for pair in right("fear", pattern) for _ in range(4)]) for pattern in patterns
    ]
    subjects = {f"v{n}": f"person {n // 4}" for n in range(40)}
    expected = compare(*once)
    by_subject = compare(*often, subjects=subjects)
    by_video = compare(*often)
    assert by_subject.num_subjects == 10
    assert by_subject.war.interval == expected.war.interval
    assert by_subject.war.interval is not None
    assert by_video.war.interval is not None
    width = [high - low for low, high in (by_subject.war.interval, by_video.war.interval)]
    assert width[0] > 1.5 * width[1], "about the square root of 4"
    assert by_video.war.value == by_subject.war.value


def test_the_seed_decides_the_draws_and_none_can_be_omitted() -> None:
    assert (
        compare(FIRST, SECOND, seed=3).uar.interval == compare(FIRST, SECOND, seed=3).uar.interval
    )
    assert compare(FIRST, SECOND, resamples=0).uar.interval is None
    with pytest.raises(ConfigError, match="bootstrap is -1"):
        compare(FIRST, SECOND, resamples=-1)
    with pytest.raises(ConfigError, match="use at most"):
        compare(FIRST, SECOND, resamples=50_000_000)


def test_only_shared_videos_are_compared_and_counted() -> None:
    found = compare(FIRST, table(right("anger", "00") + right("fear", "1"), start=2))
    assert found.num_videos == 3
    note = next(note for note in found.notes if "in both" in note)
    assert note.startswith("3 videos")
    assert "6 in the first and 3 in the second" in note


def test_other_videos_or_targets_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'v0' and 'v9'.*--save-predictions"):
        compare(FIRST, table(right("fear", "1"), start=9))
    with pytest.raises(ConfigError, match="'v0' is 'anger' in the first .* 'fear' in the second"):
        compare(FIRST, table(right("fear", "1")))


def test_a_target_that_one_model_does_not_have_is_excluded() -> None:
    import numpy as np

    own = PredictionTable.most_likely(
        ["v0", "v1"], ["anger", "contempt"], ["anger", "fear"], np.array([[1.0, 0], [1, 0]])
    )
    other = table([("anger", "fear"), ("contempt", "contempt")])
    found = compare(own, other)
    assert (found.num_videos, found.war.value) == (1, -1)
    assert any(note.startswith("1 videos are excluded") for note in found.notes)


def test_a_video_without_a_subject_is_named() -> None:
    with pytest.raises(ConfigError, match=r"5 of 6 videos have no subject, such as 'v1'"):
        compare(FIRST, SECOND, subjects={"v0": "one"})


def test_p_values_are_those_of_all_exchanges() -> None:
    """Four videos of fear gained and none lost: both models are as different in 2 of the 16 exchanges (McNemar)."""
    first, second = (right("anger", "0110"), right("fear", "0000111"))
    gained = (right("anger", "1010"), right("fear", "1111111"))
    found = compare(table(first + second), table(gained[0] + gained[1]), resamples=40_000)
    p = {one.name: one.p_value for one in (found.uar, found.war, *found.recall)}
    assert p["fear"] == pytest.approx(2 / 16, abs=0.01)
    assert p["anger"] == 1  # one gained and one lost: every exchange differs at least as much
    # WAR: six videos differ, five to one; 2 * (1 + 6) of 64 exchanges are as extreme
    assert p["war"] == pytest.approx(14 / 64, abs=0.01)
    # UAR: fear moves by k / 7 and anger by j / 4, with |k / 7 + j / 4| >= 4 / 7
    moves = [(k, comb(4, (k + 4) // 2)) for k in (-4, -2, 0, 2, 4)]
    pairs = [(k, n * m, j) for k, n in moves for j, m in ((-2, 1), (0, 2), (2, 1))]
    extreme = sum(n for k, n, j in pairs if abs(k / 7 + j / 4) >= 4 / 7 - 1e-9)
    assert p["uar"] == pytest.approx(extreme / 64, abs=0.01)
    assert found.to_dict()["war"]["p_value"] == pytest.approx(p["war"], abs=1e-6)


def test_subjects_are_exchanged_as_a_whole() -> None:
    """All four gained videos show one person: there are two exchanges, and they differ equally."""
    people = {f"v{n}": "a" for n in range(4)}
    found = compare(table(right("fear", "0000")), table(right("fear", "1111")), subjects=people)
    assert found.war.p_value == 1


def test_a_certain_difference_has_the_smallest_p_value() -> None:
    found = compare(table(right("fear", "0" * 40)), table(right("fear", "1" * 40)), resamples=999)
    assert found.war.p_value == pytest.approx(1 / 1000)
    assert (found.war.p_text, compare(FIRST, FIRST).war.p_text) == ("0.001", "1.000")
    assert compare(FIRST, SECOND, resamples=0).war.p_text == ""
    assert compare(FIRST, SECOND, resamples=0).to_dict()["interval"] is None
