"""t-SNE of video features, and files of features."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from peclip.errors import ConfigError, MissingExtraError
from peclip.metrics.embedding import chosen, embed
from peclip.metrics.video_features import VideoFeatures, read_features, write_features

pytest.importorskip("sklearn", reason="needs the extra: pip install 'peclip[tsne]'")


def two_groups(number: int) -> np.ndarray:
    random = np.random.default_rng(0)
    values = random.normal(scale=0.05, size=(2 * number, 6))
    values[:number, 0] += 1
    values[number:, 1] += 1
    return values.astype(np.float32)


def test_neighbours_stay_neighbours() -> None:
    points = embed(two_groups(20)).points
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert ((distances.argmin(1) < 20) == (np.arange(40) < 20)).all()


def test_the_seed_and_the_features_decide_the_points() -> None:
    first, again = (embed(two_groups(10), seed=5) for _ in range(2))
    assert (first.points == again.points).all()
    assert (first.perplexity, first.seed) == (pytest.approx(19 / 3), 5)


def test_few_videos() -> None:
    assert embed(two_groups(2)[:3]).points.shape == (3, 2)
    with pytest.raises(ConfigError, match="at least 3 videos"):
        embed(two_groups(1))
    with pytest.raises(ConfigError, match="the same features"):
        embed(np.ones((5, 4), np.float32))


def test_videos_are_drawn_only_above_the_limit() -> None:
    assert chosen(4, 4).tolist() == [0, 1, 2, 3]
    some = chosen(100, 10, seed=1)
    assert len(set(some.tolist())) == 10
    assert some.tolist() == sorted(some.tolist()) == chosen(100, 10, seed=1).tolist()
    assert some.tolist() != chosen(100, 10, seed=2).tolist()


def test_a_file_of_features_round_trips(tmp_path: Path) -> None:
    values = two_groups(2)[:3]
    write_features(
        tmp_path / "f.npz",
        VideoFeatures(("a", "b", "ü"), ("fear", "fear", "anger"), values, "dfew"),
    )
    again = read_features(tmp_path / "f.npz")
    assert (again.ids, again.targets, again.about) == (
        ("a", "b", "ü"), ("fear", "fear", "anger"), "dfew",
    )  # fmt: skip
    assert (again.values == values).all()


def test_invalid_files_of_features_say_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    path.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(ConfigError, match="cannot be read.*--only tsne"):
        read_features(path)
    np.savez(path, features=np.ones((2, 3)))
    with pytest.raises(ConfigError, match="lacks the array 'target'"):
        read_features(path)
    np.savez(path, features=np.ones((2, 3)), target=["a", "b"], source=["a"])
    with pytest.raises(ConfigError, match="1 sources and 2 targets"):
        read_features(path)
    np.savez(path, features=np.full((1, 3), np.nan), target=["a"], source=["a"])
    with pytest.raises(ConfigError, match="NaN or infinite"):
        read_features(path)
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(path, features=np.ones((1, 3)), target=objects, source=["a"], allow_pickle=True)
    with pytest.raises(ConfigError, match="cannot be read: it is not a .npz file of numbers"):
        read_features(path)


def test_without_sklearn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match="t-SNE"):
        embed(two_groups(5))
