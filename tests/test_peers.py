"""The table of `benchmarks/peers.py`, with peers that are made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import peers
import pytest


def face(level: int, own: str, crowd: str | None = None, *, is_copy: bool = False) -> peers.Face:
    targets = {peers.OWN: own, **({} if crowd is None else {peers.CROWD: crowd})}
    return peers.Face(np.full((4, 4, 3), level, np.uint8), targets, is_copy)


def bright_is_happy(crops: Sequence[np.ndarray]) -> list[dict[str, float]]:
    return [{"happy": crop.mean() / 255, "sad": 1 - crop.mean() / 255} for crop in crops]


FACES = [
    face(200, "happiness", "happiness", is_copy=True),
    face(200, "happiness", "neutral"),
    face(50, "happiness"),
    face(50, "sadness", "sadness"),
]


def test_the_table_by_hand() -> None:
    """3 of 4 are right (1 of 3 happy ones is not); against the votes 2 of 3; 2 of 3 without the copy."""
    labels, seconds = peers.ask(bright_is_happy, FACES, 3)
    assert labels == ["happiness", "happiness", "sadness", "sadness"]
    assert seconds > 0
    lines = peers.table(FACES, {"a": (labels, 0.008), "b": (["sadness"] * 4, 4.0)}).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == [
        *("peer", "targets", "pictures", "n", "accuracy", "UAR"),
        *("happiness", "sadness", "neutral", "s per 1,000"),
    ]
    assert cells[1] == ["---"] * 10
    assert cells[2:] == [
        ["a", "data set", "all", "4", "75.0", "83.3", "66.7", "100.0", "-", "2.0"],
        ["b", "data set", "all", "4", "25.0", "50.0", "0.0", "100.0", "-", "1000.0"],
        ["a", "data set", "without copies", "3", "66.7", "75.0", "50.0", "100.0", "-", "2.0"],
        ["b", "data set", "without copies", "3", "33.3", "50.0", "0.0", "100.0", "-", "1000.0"],
        ["a", "votes", "all", "3", "66.7", "66.7", "100.0", "100.0", "0.0", "2.0"],
        ["b", "votes", "all", "3", "33.3", "33.3", "0.0", "100.0", "0.0", "1000.0"],
        ["a", "votes", "without copies", "2", "50.0", "50.0", "-", "100.0", "0.0", "2.0"],
        ["b", "votes", "without copies", "2", "50.0", "50.0", "-", "100.0", "0.0", "1000.0"],
    ]


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ({"neutral": 2, "happiness": 7, "nf": 1}, "happiness"),
        ({"neutral": 5, "happiness": 5}, None),
        ({"contempt": 6, "happiness": 4}, None),
        ({"unknown": 6, "happiness": 4}, None),
        ({"neutral": 0, "happiness": 0}, None),
        ({}, None),
    ],
)
def test_the_crowd_must_agree_on_an_emotion(votes: dict[str, float], expected: str | None) -> None:
    assert peers.majority(votes) == expected


def test_pictures_votes_and_copies_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two test pictures the bright one is in train too, and the crowd calls it neutral."""
    for name, level in (
        ("train/happy/Training_1.png", 220),
        ("train/sad/Training_2.png", 10),
        ("test/happy/PrivateTest_3.png", 220),
        ("test/sad/PrivateTest_4.png", 20),
        ("test/sad/PublicTest_5.png", 30),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((48, 48), level, np.uint8))
    votes = tmp_path / "votes.csv"
    votes.write_text(
        "file,ferplus_rows,neutral,sadness,NF,anger,disgust,fear,happiness,surprise\n"
        "test/happy/PrivateTest_3.png,99,8,1,0,0,0,0,0,0\n"
    )
    monkeypatch.setitem(peers.PEERS, "fake", lambda: bright_is_happy)
    peers.main(["--data", str(tmp_path), "--votes", str(votes), "--peers", "fake"])
    rows = [line.split(" | ")[:6] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1:] for row in rows] == [
        ["data set", "all", "2", "100.0", "100.0"],
        ["data set", "without copies", "1", "100.0", "100.0"],
        ["votes", "all", "1", "0.0", "0.0"],
    ]


def test_a_missing_package_is_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> peers.Peer:
        raise ImportError("No module named 'fer'")

    monkeypatch.setitem(peers.PEERS, "fake", missing)
    with pytest.raises(SystemExit, match=r"fake cannot be loaded: No module named 'fer'.*--peers"):
        peers.main(["--data", str(tmp_path), "--peers", "fake"])


def test_nano_sees_a_still_as_peclip_does() -> None:
    recognise = peers.PEERS["nano"]()
    crops = [np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)] * 2
    first, second = recognise(crops)
    assert first == pytest.approx(second)
    assert sum(first.values()) == pytest.approx(1.0)
    assert set(first) == {*peers.EMOTIONS[:7]}
